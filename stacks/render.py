"""Show what a stack would make, without a cloud account: `python -m stacks.render --stack NAME`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

try:
    import yaml

    from stacks.configuration.config import DEFAULT_REGION, parse
    from stacks.configuration.keys import NAMESPACE
    from stacks.configuration.scenario import parts_of
    from stacks.configuration.settings import Settings
    from stacks.cost.estimate import as_table, estimate
    from stacks.errors import RenderError, StackError
    from stacks.images import config_key, needed
    from stacks.preview.dryrun import (
        PROJECT,
        ROOT,
        DryRun,
        Inputs,
        dry_run,
        placeholder_digest,
        stack_config,
    )
    from stacks.preview.graph import as_text, fold
    from stacks.preview.manifests import helm_values, manifests
    from stacks.preview.picture import PictureError, as_dot, as_svg
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    print(
        f"error: this Python, {sys.executable}, has no package {missing.name}\n"
        "hint: make setup-program, then .venv/bin/python -m stacks.render (or . .venv/bin/activate first)",
        file=sys.stderr,
    )
    sys.exit(2)

_EPILOG = """\
examples:
  python -m stacks.render --stack drcio
  python -m stacks.render --stack drcio --output out --config scenario=baseline --config storage.iops=6000

With --output it writes kubernetes/*.yaml (kubectl apply -f DIR/kubernetes, or -k DIR), helm/, graph.svg,
graph.txt, outputs.json and cost.txt.
"""
_SET: Final = re.compile(
    rf"pulumi config set (?:--path )?'?{NAMESPACE}:([A-Za-z0-9.-]+)'? (\S+?)(?=[;,]|\s|$)"
)
_REMOVE: Final = re.compile(rf"pulumi config rm (?:--path )?'?{NAMESPACE}:([A-Za-z0-9.-]+)'?")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 2 for what is refused, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    overrides: dict[str, str] = {}
    try:
        overrides |= _overrides(arguments.config)
        config = stack_config(ROOT, arguments.stack, overrides)
        settings = _settings(arguments.stack, config)
        stand_ins = stand_in_images(settings)
        run = dry_run(arguments.stack, stack_config(ROOT, arguments.stack, {**overrides, **stand_ins}))
        if arguments.output is not None:
            write(run, settings, arguments.output)
    except StackError as error:
        print(f"error: {without_pulumi(str(error), overrides)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}\nhint: is --output a folder that you may write to?", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was written so far is incomplete", file=sys.stderr)
        return 130
    for warning in run.warnings:
        print(f"warning: {without_pulumi(warning, overrides)}", file=sys.stderr)
    sys.stdout.write(as_text(run) if arguments.output is None else "")
    print()
    print(as_table(estimate(settings), settings))
    made_up = placeholders(run, settings)
    if arguments.output is not None:
        print(f"wrote {arguments.output}: {len(manifests(run))} Kubernetes objects, graph.svg, outputs.json")
        if not made_up:
            print(_next_step(run, arguments.output))
    if made_up:
        options = " ".join(f"--config images.{config_key(name)}=NAME@sha256:..." for name in made_up)
        why = (
            "the stack neither builds nor names them, which `pulumi up` refuses"
            if stand_ins
            else "images are built by `pulumi up`"
        )
        print(
            f"Image references of {', '.join(made_up)} are placeholders: {why}.\n"
            f"hint: to apply the files, name images by digest: {options}"
        )
    return 0


def write(run: DryRun, settings: Settings, folder: Path) -> None:
    """Write everything that a run declared below a folder; files of an earlier rendering are replaced."""
    objects, helm = folder / "kubernetes", folder / "helm"
    for part in (objects, helm):
        part.mkdir(parents=True, exist_ok=True)
        for old in part.glob("*.yaml"):
            old.unlink()
    files = [manifest.file_name for manifest in manifests(run)]
    for manifest in manifests(run):
        (objects / manifest.file_name).write_text(manifest.as_yaml())
    # Beside the folder and not in it, where `kubectl apply -f` would take it for an object.
    (folder / "kustomization.yaml").write_text(_kustomization(files))
    for name, release in helm_values(run):
        (helm / f"{name}.values.yaml").write_text(yaml.safe_dump(release["values"], sort_keys=False))
        (helm / f"{name}.command.txt").write_text(_helm_command(name, release))
    graph, heading = fold(run), f"stack {run.stack}: {len(run.registrations)} resources"
    (folder / "graph.dot").write_text(as_dot(graph, heading))
    try:
        (folder / "graph.svg").write_text(as_svg(graph, heading))
    except PictureError as error:  # All else is there, and graph.txt says the same.
        (folder / "graph.svg").unlink(missing_ok=True)
        print(f"graph.svg is not drawn: {error}", file=sys.stderr)
    (folder / "graph.txt").write_text(as_text(run))
    (folder / "cost.txt").write_text(as_table(estimate(settings), settings))
    shown = {
        name: "[secret]" if output.secret else output.value for name, output in sorted(run.outputs.items())
    }
    (folder / "outputs.json").write_text(json.dumps(shown, indent=2) + "\n")


def _kustomization(files: Sequence[str]) -> str:
    """Return a base that holds every object: `kubectl apply -k DIR`, or a `resources` entry of an overlay."""
    base = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"kubernetes/{file}" for file in files],
    }
    return str(yaml.safe_dump(base, sort_keys=False))


def _helm_command(name: str, release: Inputs) -> str:
    options = release["repositoryOpts"]
    return (
        f"helm install {name} {release['chart']} --repo {options['repo']} --version {release['version']} "
        f"--namespace {release['namespace']} --values {name}.values.yaml\n"
    )


def _settings(stack: str, config: dict[str, str]) -> Settings:
    prefix = f"{NAMESPACE}:"
    given = {key.removeprefix(prefix): text for key, text in config.items() if key.startswith(prefix)}
    return parse(given, stack=stack, region=config.get("aws:region", DEFAULT_REGION))


def _overrides(texts: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RenderError(
                f"--config is {text!r}; expected KEY=VALUE", hint="for example --config storage.iops=6000"
            )
        overrides[key if ":" in key else f"{NAMESPACE}:{key}"] = value
    return overrides


def stand_in_images(settings: Settings) -> dict[str, str]:
    """Return made-up references, by key, of images that the stack needs and neither builds nor names.

    `pulumi up` refuses such a stack; what it consists of can be shown all the same.
    """
    images = settings.images
    lacking = (
        []
        if settings.platform_stack
        else [it for it in needed(parts_of(settings)) if it not in images.given and it not in images.built]
    )
    return {
        f"{NAMESPACE}:images.{config_key(name)}": f"{name}@sha256:{placeholder_digest(name)}"
        for name in lacking
    }


def placeholders(run: DryRun, settings: Settings) -> list[str]:
    """Return the images that the objects name and that nobody has built yet, in the order of the outputs."""
    references = run.outputs["images"].value
    text = "".join(json.dumps(manifest.content) for manifest in manifests(run))
    return [
        name
        for name, reference in references.items()
        if name not in settings.images.given and reference in text
    ]


def _next_step(run: DryRun, folder: Path) -> str:
    charts = f"what {folder}/helm/*.command.txt say, then " if any(helm_values(run)) else ""
    return f"next: {charts}kubectl apply -k {folder}"


def without_pulumi(message: str, overrides: Mapping[str, str]) -> str:
    """Return a refusal with its hint in this program's own words: a value is laid over by --config here."""
    said, line, hint = message.partition("\nhint: ")
    hint = _SET.sub(r"--config \1=\2", hint)

    def leave_out(found: re.Match[str]) -> str:
        *parts, last = found[1].split(".")
        # The key itself, or an object that holds it; else a key that it holds.
        holders = (".".join([*parts, last][:count]) for count in range(len(parts) + 1, 0, -1))
        given = next((f"{NAMESPACE}:{it}" for it in holders if f"{NAMESPACE}:{it}" in overrides), None)
        given = given or next((it for it in overrides if it.startswith(f"{NAMESPACE}:{found[1]}.")), None)
        return f"leave out --config {given.removeprefix(f'{NAMESPACE}:')}" if given else found[0]

    return said + line + _REMOVE.sub(leave_out, hint)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stacks.render",
        description=f"Run the Pulumi program {PROJECT} without a cloud and show what it would make.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--stack", required=True, metavar="NAME", help="a stack: dev, baseline, contention, drcio, local"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write everything there instead of a summary"
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a configuration key for this rendering; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
