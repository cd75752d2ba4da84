"""Drive one stack on the bench by hand.

    python -m tests.engine.drive --like dev up up destroy
    python -m tests.engine.drive --like drcio --existing up batch.pattern=random-read up outputs destroy
    python -m tests.engine.drive --like drcio --existing life:drcio-experiment=FAIL up! up destroy

Each word is done in turn: an operation (`up!` expects it to fail), a setting KEY=VALUE (an empty value
removes it; `aws:region=...` is a key of another namespace), `life:APP=END` (how the next pod of an app ends:
RUN, SUCCEED, FAIL, EVICT, NO_IMAGE), or `shell`, which waits for Enter while `kubectl` works on the printed
kubeconfig.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from local_cluster.programs import find
from tests.engine.bench import EXISTING, Bench
from tests.engine.nodes import End, Life
from tests.engine.stack import Outcome, Stack, StackFailed

OPERATIONS = ("preview", "up", "refresh", "destroy")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.drive", description=__doc__.splitlines()[0])
    parser.add_argument("--like", default="dev", help="the stack file to begin with")
    parser.add_argument("--name", help="the stack's name, if another than the file's")
    parser.add_argument("--existing", action="store_true", help="on an existing cluster, with given images")
    parser.add_argument("--source", type=Path, help="another checkout, whose program runs")
    parser.add_argument("words", nargs="+")
    options = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="drcio-drive-"))
    bench = Bench(find(), folder)
    bench.start()
    try:
        if options.source:
            bench.workspace = bench.another_workspace("other", options.source.resolve())
        if options.existing:
            print("the existing cluster:", bench.existing.plane.kubeconfig_path)
        stack = bench.stack(options.name or options.like, options.like, EXISTING if options.existing else {})
        for word in options.words:
            _do(bench, stack, word)
        print("left over:", "\n  ".join(bench.leftovers()) or "nothing")
    except StackFailed as failure:
        print(failure)
        print(bench.failure_report())
        return 1
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _do(bench: Bench, stack: Stack, word: str) -> None:
    operation, fails = word.removesuffix("!"), word.endswith("!")
    if operation in ("up", "destroy"):
        _show(word, getattr(stack, operation)(fails=fails))
    elif operation in OPERATIONS:
        _show(word, getattr(stack, operation)())
    elif word == "outputs":
        print(json.dumps(stack.outputs(), indent=1, default=str))
    elif word == "shell":
        clusters = [bench.clusters.by_name.items(), [("existing", bench.existing)]]
        for name, cluster in (pair for pairs in clusters for pair in pairs):
            print(f"{name}: KUBECONFIG={cluster.plane.kubeconfig_path}")
        input("Enter goes on: ")
    elif word.startswith("life:"):
        app, _, end = word.removeprefix("life:").partition("=")
        bench.existing.lives.setdefault(app, []).append(Life(end=End[end]))
    else:
        key, _, value = word.partition("=")
        full = key if ":" in key else f"drcio:{key}"
        stack.configure({full: yaml.safe_load(value) if value else None})
        print(f"set {full} to {value or 'its default'}")


def _show(word: str, outcome: Outcome) -> None:
    print(f"{word}: {outcome.seconds:.1f} s, {outcome.counts}")
    for step in outcome.changed:
        print(f"  {step}")
    for message in outcome.messages:
        print(f"  {message}")


if __name__ == "__main__":
    sys.exit(main())
