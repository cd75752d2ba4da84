"""What the agent's command line asks for, and what it answers when that is missing or mistyped."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import pytest

from drcio_controller.cli import main
from drcio_controller.kube.errors import AnswerTooLarge, ApiUnavailable, KubeError, kind_of, refused
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.fakenode import FakeNode
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore, Resource
from tests.images.drcio_controller.rig import pod_document

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def api() -> Iterator[PodApiServer]:
    with serving(PodStore()) as server:
        yield server


@pytest.fixture(autouse=True)
def outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NODE_NAME", "KUBERNETES_SERVICE_HOST", "DRCIO_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def place(node: FakeNode, folder: Path) -> list[str]:
    """Return the options that put the agent onto a fake node."""
    return [
        "--cgroup-root", str(node.roots.cgroup), "--sys-root", str(node.roots.sys),
        "--state-dir", str(folder / "state"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "errors", "remedies"),
    [
        ([], ["node's name", "KUBERNETES_SERVICE_HOST"], ["--node-name", "--api-server"]),
        (["--node-name", "n"], ["KUBERNETES_SERVICE_HOST"], ["--api-server"]),
        (["--api-server", NOWHERE], ["node's name"], ["--node-name"]),
        (["--api-server", "127.0.0.1:9"], ["node's name", "'127.0.0.1:9'"], ["--node-name", "http://"]),
    ],
)
def test_all_that_is_missing_is_one_error_with_every_remedy(
    given: list[str], errors: list[str], remedies: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*given, "--dry-run", "--once"]) == 1

    error, hint = capsys.readouterr().err.splitlines()
    for words, line, every in (
        (errors, error, ("node's name", "KUBERNETES_SERVICE_HOST")),
        (remedies, hint, ("--node-name",)),
    ):
        assert [word for word in words if word not in line] == []
        assert [word for word in every if word in line and word not in words] == []


def examples(capsys: pytest.CaptureFixture[str]) -> Sequence[list[str]]:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    text = capsys.readouterr().out.partition("examples:")[2]
    return [shlex.split(line) for line in re.findall(r"^  drcio-controller(.*?)(?:   .*)?$", text, re.M)]


def test_example_of_the_help_works_with_its_names_filled_in(
    node: FakeNode, api: PodApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = [words for words in examples(capsys) if "--once" in words]
    names = {"NAME": "node-1", "URL": api.url}

    assert main([*place(node, tmp_path), *(names.get(word, word) for word in example)]) == 0

    assert "no managed pods on this node" in capsys.readouterr().out
    assert node.writes == []


def test_examples_of_the_help_give_all_that_running_an_agent_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = examples(capsys)

    running = [words for words in shown if not words or words[0].startswith("-")]
    assert len(shown) > len(running) > 1
    assert [words for words in running if not {"--node-name", "--api-server"} <= set(words)] == []


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("polcy: drcio\n", "polcy"),
        ("classes: {high: ", "config.yaml"),
        ("", "is empty"),
        (None, "No such file or directory"),
    ],
)
def test_refused_configuration_ends_once_before_anything_is_written(
    node: FakeNode,
    tmp_path: Path,
    content: str | None,
    error: str,
    extra: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    before = node.read("cgroup.subtree_control"), node.read("io.cost.qos")
    command = [*place(node, tmp_path), "--once", "--node-name", "node-1", "--api-server", NOWHERE]

    assert main([*command, "--config", str(config), *extra]) == 1

    printed = capsys.readouterr()
    assert printed.err.startswith(f"drcio-controller: {config}: ")
    assert error in printed.err
    assert printed.out == ""
    assert (node.read("cgroup.subtree_control"), node.read("io.cost.qos")) == before
    assert "api_failure" not in printed.err


def test_good_configuration_is_in_force_with_once(
    node: FakeNode, api: PodApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.add_pod("a", QosClass.BURSTABLE)
    api.store.create(Resource.PODS, "shop", pod_document("a", "high"))
    config = tmp_path / "config.yaml"
    config.write_text("classes: {high: 7000}\n")
    command = [
        *place(node, tmp_path),
        "--once",
        "--dry-run",
        "--node-name",
        "node-1",
        "--api-server",
        api.url,
    ]

    assert main([*command, "--config", str(config)]) == 0

    assert "shop/pod-a: class high, would get weight 7000" in capsys.readouterr().out


@pytest.mark.parametrize("reached", [False, True])
def test_once_without_an_answer_logs_a_kind_of_failure_once_and_how_long_it_tries(
    node: FakeNode,
    api: PodApiServer,
    tmp_path: Path,
    reached: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("drcio_controller.agent.FIRST_LIST_TIMEOUT_S", 2.5)
    caplog.set_level(logging.INFO)
    api.faults.fail_next(100, HTTPStatus.SERVICE_UNAVAILABLE)
    url = api.url if reached else NOWHERE

    assert main([*place(node, tmp_path), "--once", "--node-name", "node-1", "--api-server", url]) == 1

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("drcio_controller")]
    assert lines[0] == f"listing_pods api_server={url} at_most_s=2.5"
    (failure,) = [line for line in lines if "api_failure" in line]
    assert ("503" if reached else "Connection refused") in failure
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("drcio-controller: no pods could be listed within 2.5 s: ")
    assert "--api-server" in hint


def test_failures_of_one_kind_are_one_and_what_may_not_be_done_is_told_of_each() -> None:
    same: list[list[KubeError]] = [
        [ApiUnavailable("API server: refused at 1", "connect"), ApiUnavailable("refused at 2", "connect")],
        [refused(503, "Unavailable", "pods: later"), refused(503, "Unavailable", "namespaces: later")],
        [AnswerTooLarge("GET /pods: too long"), AnswerTooLarge("GET /namespaces: too long")],
    ]
    forbidden: list[KubeError] = [
        refused(403, "Forbidden", f"{kind} is forbidden") for kind in ("pods", "namespaces")
    ]

    assert [len({kind_of(error) for error in errors}) for errors in same] == [1, 1, 1]
    assert len({kind_of(errors[0]) for errors in [*same, forbidden]}) == 4
    assert len({kind_of(error) for error in forbidden}) == 2
