"""Write what people read about configuration from where it is declared.

    python -m stacks.configuration.reference --write

renews the `config` section of Pulumi.yaml and docs/reference/configuration.md; a test fails where they
are not what it would write.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from stacks.configuration.config import render_default
from stacks.configuration.keys import NAMESPACE, Key, keys_of
from stacks.configuration.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT_FILE: Final = ROOT / "Pulumi.yaml"
PAGE: Final = ROOT / "docs" / "reference" / "configuration.md"

MARKER: Final = (
    "# Written by `python -m stacks.configuration.reference --write`; "
    "the declarations are in stacks/configuration/settings.py.\n"
)
_WIDTH: Final = 100

_PREAMBLE: Final = """\
# Configuration

Every key of a stack, as `stacks/configuration/settings.py` declares it. Set one with

    pulumi config set --path 'drcio:storage.iops' 6000

Keys with a dot are paths: without `--path` the Pulumi CLI would store the dot as part of a name, and the
program refuses that. A list is given as `a,b` or as a YAML list. A map takes entries beyond those shown:
`pulumi config set --path 'drcio:ioWeights.critical' 5000`. A value that is refused is refused before
anything is deployed, with what was expected.

The AWS region is Pulumi's own key `aws:region` (us-east-1 where it is not set).
"""


def leaves(key: Key) -> Iterator[tuple[str, object]]:
    """Yield the full names under which a key's default is declared, and the default: maps entry by entry."""
    if isinstance(key.default, Mapping):
        for name, value in key.default.items():
            yield f"{key.full_name}.{name}", value
    else:
        # A nested list cannot be a project-level value: the CLI takes only scalars below a path.
        yield key.full_name, ",".join(key.default) if isinstance(key.default, tuple) else key.default


def allowed(key: Key) -> str:
    """Return what a value may be; empty where its type is all."""
    rules = key.rules
    if rules.choices:
        return f"one of {', '.join(rules.choices)}"
    if rules.minimum is not None:
        return f"{rules.minimum} to {rules.maximum}"
    return ""


def project_config() -> str:
    """Return the `config` section of Pulumi.yaml.

    The keys' namespace is not the project's name, and for such keys the CLI refuses `type` and
    `default`: the type opens the description, and the default is the project-level `value`, which a
    stack's own value overrides.
    """
    lines = [MARKER, "config:\n"]
    for key in keys_of(Settings):
        about = f"{key.kind}{f', {allowed(key)}' if allowed(key) else ''}. {key.rules.doc}"
        for name, value in leaves(key):
            lines.append(f"  {name}:\n    description: >-\n")
            lines += [f"      {line}\n" for line in textwrap.wrap(about, _WIDTH - 6)]
            lines.append(f"    value: {_scalar(value)}\n")
    return "".join(lines)


def page() -> str:
    """Return docs/reference/configuration.md."""
    lines = [_PREAMBLE]
    section = None
    for key in keys_of(Settings):
        group = key.path.split(".")[0] if "." in key.path else ""
        if group != section:
            section = group
            lines.append(
                f"\n## {group or 'The stack'}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
            )
        kind = f"{key.kind}<br>{allowed(key)}" if allowed(key) else key.kind
        default = render_default(key)
        shown = default if default == "empty" else f"`{default}`"
        lines.append(f"| `{NAMESPACE}:{key.path}` | {kind} | {shown} | {key.rules.doc} |\n")
    return "".join(lines)


def project_file(current: str) -> str:
    """Return Pulumi.yaml with its `config` section renewed; what stands before the marker stays."""
    return current.split(MARKER)[0].rstrip("\n") + "\n\n" + project_config()


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'


def main() -> None:
    """Print both, or write them."""
    parser = argparse.ArgumentParser(
        prog="python -m stacks.configuration.reference", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--write", action="store_true", help="write Pulumi.yaml and the reference page")
    if not parser.parse_args().write:
        print(project_config())
        return
    PROJECT_FILE.write_text(project_file(PROJECT_FILE.read_text()))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PROJECT_FILE.name} and {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
