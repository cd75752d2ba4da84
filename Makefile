# `make demo` and `make test` do all their set-up themselves on a fresh Debian machine.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= results/demo
LOOK_OUTPUT ?= results/look

# qemu: the twin. gcc, libc6-dev: its volumes' server. busybox-static, kmod, udev, iproute2: what its guest boots with. fio: benchmarks.
# graphviz: the stack's picture. prometheus (promtool too): rules and dashboards are tested against the real one.
# docker.io, mmdebstrap: the images are really built and run, on a base made here. procps: pkill.
# containerd, runc, containernetworking-plugins, iptables, systemd: the local cluster's node. openssl: its accounts' key. curl: the engine's programs.
# chromium: the report is laid out by a real browser.
# docker-cli: a package of its own since Debian 13; the mark lets it be unknown. Other names: tools/packages.
APT_PROGRAM := python3-venv graphviz
APT_RUN := qemu-system-x86 busybox-static gcc libc6-dev make kmod udev e2fsprogs iproute2 util-linux
APT_DEV := fio prometheus docker.io docker-cli? mmdebstrap containerd runc containernetworking-plugins iptables systemd procps openssl curl chromium

.DEFAULT_GOAL := help
.PHONY: help demo look doctor test test-guests test-images test-engine test-cluster test-cluster-short engine cluster tour images check setup setup-program setup-dev format clean render manifests bench-service bench-batch bench-controller

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

demo: setup  ## run baseline, contention and drcio on a node twin and report
	$(BIN)/python -m experiments run --target twin --scenario all --output $(DEMO_OUTPUT)

look: setup  ## the quarter of the demo: contention and drcio once, a look and no proof
	$(BIN)/python -m experiments look --output $(LOOK_OUTPUT)

doctor:  ## say what this machine can do: KVM, emulation, engine, docker, disk, memory
	@$(or $(wildcard $(BIN)/python),python3) -m experiments.commands.doctor

test: setup-dev  ## run the tests: unit tests in parallel, then the twin's
	tools/run-tests

test-guests: setup-dev  ## of the tests on the real kernel those that boot a guest of their own
	$(BIN)/python -m pytest -m twin -q --durations=15 -n 3 --dist loadfile tests/twin/own_guest

test-images: setup-dev  ## build and scan the images, and install what is installed by itself
	$(BIN)/python -m pytest -m "docker or scanners or fresh" -q --durations=15 -n 2 --dist loadfile tests/stacks tests/repository

test-engine: setup-dev  ## run the Pulumi program on the real engine and a real API server
	$(BIN)/python -m pytest tests/engine -q --durations=15 -n 2 --dist loadscope

test-cluster: setup-dev  ## hold the stand-in kubelet and the controller to a real node, on a local cluster
	$(BIN)/python -m pytest tests/cluster -q -s

test-cluster-short: setup-dev  ## of that what needs one boot: the stand-in kubelet, and the controller comes and goes
	$(BIN)/python -m pytest tests/cluster -q -s -m short --durations=10

cluster: setup-dev  ## start a Kubernetes cluster on this machine, its one node a real kubelet; Ctrl-C ends it
	$(BIN)/python -m local_cluster up

tour: setup-dev  ## the whole of it on such a cluster: pulumi up for each scenario, a weight changed, the report
	$(BIN)/python -m local_cluster tour

images: setup-dev  ## build the five images, and the disk from which the local cluster's node has them
	$(BIN)/python -m local_cluster images

engine:  ## fetch what test-engine and cluster need: pulumi, its provider, a control plane, a node's programs
	tools/fetch-engine .cache/engine

bench-service: setup-dev  ## a request's own cost: against the same reads by fio plus the model alone
	$(BIN)/hp-service prepare --data .cache/volume/hp
	$(BIN)/hp-service bench --data .cache/volume/hp

bench-batch: setup-dev  ## the batch job's throughput against fio's, on the twin's volume
	$(BIN)/python -m experiments run --workloads experiments/benchmarks --scenario baseline --repeats 1 --output results/bench-batch
	@cat results/bench-batch/pods/*bench-lp-batch*/bench/*.log

bench-controller: setup-dev  ## the controller's CPU, memory and time a tick
	$(BIN)/drcio-controller bench

render: setup-program  ## every Kubernetes object, graph and cost of each stack, without a cloud
	for stack in baseline contention drcio dev; do $(BIN)/python -m stacks.render --stack $$stack --output rendered/$$stack || exit; done

MONITORS ?= true

manifests: setup-program  ## the controller alone, as YAML and a kustomize base: CONTROLLER_IMAGE=NAME@sha256:... [MONITORS=false]
	@test -n "$(CONTROLLER_IMAGE)" || { echo "hint: make manifests CONTROLLER_IMAGE=NAME@sha256:..." >&2; exit 2; }
	$(BIN)/python -m stacks.render --stack drcio --output rendered/controller \
		--config workloads.enabled=false --config platform=existing --config experiment.enabled=false \
		--config images.build=none --config images.controller=$(CONTROLLER_IMAGE) \
		--config monitoring.enabled=$(MONITORS) \
		|| { echo "hint: here images.controller is CONTROLLER_IMAGE, monitoring.enabled is MONITORS" >&2; exit 2; }

check: setup-dev  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev  ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup-program: $(VENV)/.program-stamp  ## install what render and manifests need: the Pulumi program's packages alone

setup: $(VENV)/.run-stamp  ## install what the demo needs

setup-dev: $(VENV)/.dev-stamp  ## install what tests and checks need besides

PYPROJECTS := $(wildcard images/*/pyproject.toml)

$(VENV)/.program-stamp: requirements.txt $(PYPROJECTS)
	@tools/apt-install $(APT_PROGRAM)
	test -x $(BIN)/python || tools/make-venv $(VENV) $(PYTHON)
	tools/install-requirements $(BIN)/python requirements.txt
	@touch $@

$(VENV)/.run-stamp: $(VENV)/.program-stamp requirements-experiments.txt
	@tools/apt-install $(APT_RUN)
	images/hp-service/install-torch --no-compile $(BIN)/python
	tools/install-requirements $(BIN)/python requirements-experiments.txt
	@touch $@

$(VENV)/.dev-stamp: $(VENV)/.run-stamp requirements-dev.txt
	@tools/apt-install $(APT_DEV)
	tools/install-requirements $(BIN)/python requirements-dev.txt
	@touch $@

clean:  ## remove everything that was installed, cached or produced here
	rm -rf $(VENV) .cache results rendered .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
