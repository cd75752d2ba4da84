"""Write docs/operations.md from what the bench saw each setting's change do.

    make test-engine; python -m tests.engine.operations --write

The tests of the settings hold the page against what they see, each its own row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Final

from local_cluster.programs import ROOT
from stacks.configuration.keys import NAMESPACE, keys_of
from stacks.configuration.settings import Settings
from tests.engine.effects import RECORDED, Effect, recorded

PAGE: Final = ROOT / "docs" / "operations.md"
_LONGEST: Final = 40
"""Characters of a value that a row shows."""
_PREAMBLE: Final = """\
# What a change does to a running stack

Written by `python -m tests.engine.operations --write` from what `make test-engine` saw: it changes every
declared key of a running stack on Pulumi's own engine, a real API server and the real Kubernetes provider,
with stand-ins for AWS, Docker and nodes, and runs a second `pulumi up`, which must find nothing to do. A test
fails where a row is not what it saw.

- **in place**: objects change and keep their identity. **replaced**: the engine deletes and makes anew.
  **no effect**: nothing that runs depends on it. **refused**: `pulumi up` ends before anything is touched.
- *restarts*: apps whose pods end and start anew.
- *measured again*: the experiment's Job runs once more, where the experiment is on.
- The shared volume and its data are kept in every row; a change that would lose them is refused.
"""


def page(effects: Mapping[str, Effect]) -> str:
    """Return the page.

    Raises:
        LookupError: a declared key has no recorded effect.
    """
    lines = [_PREAMBLE]
    section = None
    for key in keys_of(Settings):
        if key.path not in effects:
            raise LookupError(f"no effect of {key.full_name} is recorded in {RECORDED}; run make test-engine")
        group = key.path.split(".")[0] if "." in key.path else ""
        if group != section:
            section = group
            lines.append(f"\n## {group or 'The stack'}\n\n")
            lines.append(
                "| key | tried | what happens | restarts | measured again |\n|---|---|---|---|---|\n"
            )
        lines.append(row(effects[key.path]))
    return "".join(lines)


def row(effect: Effect) -> str:
    """Return one setting's row."""
    gone = [f"gives up the volume of {', '.join(effect.lost)}"] if effect.lost else []
    what = "; ".join([*effect.objects, *gone]) or effect.advice
    cells = (
        f"`{NAMESPACE}:{effect.key}`",
        f"{_short(effect.before)} to {_short(effect.after)}",
        f"**{effect.kind}**{f': {what}' if what else ''}",
        ", ".join(effect.restarted) or "-",
        "yes" if effect.measured_again else "no",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def _short(value: str) -> str:
    text = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return "empty" if text == "empty" else f"`{text}`"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.engine.operations", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    try:
        text = page(recorded())
    except LookupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.write:
        PAGE.write_text(text)
        print(f"wrote {PAGE.relative_to(ROOT)}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
