"""Show a status to people: for each device what it can do, who has it, what is set, and whether it acts.

The document may be another version's: whatever is missing or of another type is shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Document = Mapping[str, object]

_TITLES: Final = (
    "POD", "CLASS", "FROM", "ROLE", "WEIGHT", "LIMIT", "EFFECT", "MIB/S", "IO/S", "WAIT", "SHARE", "OF"
)  # fmt: skip

_NO_FIGURE: Final = 1e18
"""From here on a value is shown as unknown: none on a node is as large, infinity and NaN included."""


def render(status: Document) -> str:
    """Return the tables for the document that `/status` serves."""
    at_unix_s = _float(status.get("at_unix_s"))
    lines = [f"node {status.get('node')}   policy {status.get('policy')}"]
    if status.get("standby"):
        lines.append(f"this agent is passive: {status.get('standby')}")
    pods = objects(status, "pods")
    for device in objects(status, "devices"):
        lines += ["", *_device(device, at_unix_s), *_users(pods, device.get("device"))]
    elsewhere = [
        f"{_name(pod)} ({_text(pod.get('priority'))})"
        for pod in pods
        if pod.get("weight") is not None and not objects(pod, "devices")
    ]
    if elsewhere:
        lines += ["", f"managed, without I/O on a managed device: {', '.join(elsewhere)}"]
    if not any(pod.get("weight") is not None for pod in pods):
        lines += ["", "no managed pods"]
    for pod in pods:
        lines += [f"problem: {_name(pod)}: {problem}" for problem in texts(pod, "problems")]
    lines += [f"problem: {problem}" for problem in texts(status, "problems")]
    if status.get("config_error"):
        lines.append(f"configuration refused: {status.get('config_error')}")
    return "\n".join(map(plain, lines))


def plain(line: str) -> str:
    """Return a line that is one line on any terminal: what is not to be seen is shown by its escape.

    A disk's serial, an API server's error, another version's document: not all words here are our own.
    """
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in line
    )


def _device(device: Document, at_unix_s: float | None) -> list[str]:
    acts = f"yes, by {device.get('engine')}" if device.get("acting") else f"no, engine {device.get('engine')}"
    lines = [
        f"{device.get('name')} ({device.get('device')})  {device.get('serial') or ''}".rstrip(),
        f"  capacity  {_capacity(device)}",
        f"  acts      {acts}, for {_age(at_unix_s, device.get('acting_since_unix_s'))}",
        f"  state     {device.get('state')}, for {_age(at_unix_s, device.get('state_since_unix_s'))}:"
        f" {device.get('reason')}",
        f"  now       {_mib(device.get('bytes_per_s'))} MiB/s, {_number(device.get('ios_per_s'), 0)} IO/s,"
        f" latency {_number(device.get('latency_ms'))} ms, {_text(device.get('in_flight'))} in flight",
        f"  set       budget {_number(device.get('budget_ratio'), 3)} of the capacity,"
        f" {_percent(device.get('budget_used_ratio'))} of it used",
    ]
    knobs = device.get("knobs")
    if isinstance(knobs, Mapping):
        lines += [f"            {file}: {value}" for file, value in knobs.items()]
    if device.get("withdrawn"):
        lines.append(
            f"  WITHDRAWN nobody is held back, for {_age(at_unix_s, device.get('state_since_unix_s'))}:"
            f" {device.get('withdrawn')}"
        )
    waits_s = _float(device.get("writes_wait_s"))
    if waits_s is not None:
        lines.append(f"  STOPPED   no request ends; a write to its configuration waits for {waits_s:.0f} s")
    if device.get("engine_note"):
        lines.append(f"  note      {device.get('engine_note')}")
    return lines


def _capacity(device: Document) -> str:
    text = (
        f"{_text(device.get('profile_iops'))} IOPS, {_number(device.get('profile_mib_s'))} MiB/s"
        f" ({_text(device.get('profile_source'))})"
    )
    instance = device.get("instance")
    if not isinstance(instance, Mapping):
        return text
    kind = instance.get("type") or "as configured"
    return (
        f"{text}; instance {kind}: {_number(instance.get('iops'), 0)} IOPS,"
        f" {_number(instance.get('mib_s'))} MiB/s over all volumes"
        f" (at most {_number(instance.get('burst_iops'), 0)}, {_number(instance.get('burst_mib_s'))})"
    )


def _users(pods: Sequence[Document], device: object) -> list[str]:
    """Return the table of who uses a device, the busiest first; pods of no class too."""
    users = [
        (_float(entry.get("bytes_per_s")) or 0.0, pod, entry)
        for pod in pods
        for entry in objects(pod, "devices")
        if entry.get("device") == device
    ]
    users.sort(key=lambda user: -user[0])
    rows = [
        [
            _name(pod),
            _text(pod.get("priority")),
            _text(pod.get("priority_from")),
            _text(entry.get("role")),
            _text(pod.get("weight_set")),
            _limit(entry.get("limit")),
            _text(entry.get("effect")),
            _mib(entry.get("bytes_per_s")),
            _number(entry.get("ios_per_s"), 0),
            _percent(entry.get("io_stall_ratio")),
            _percent(entry.get("share_achieved")),
            _percent(entry.get("share_intended")),
        ]
        for _, pod, entry in users
    ]
    whys = {f"  {_name(pod)}: {entry['why']}" for _, pod, entry in users if entry.get("why")}
    return [f"  {line}" for line in _table(_TITLES, rows)] + sorted(whys) if rows else ["  nobody uses it"]


def _limit(value: object) -> str:
    if not isinstance(value, str):
        return "-"
    return ",".join(word for word in value.split() if not word.endswith("=max")) or "-"


def _age(now_unix_s: float | None, since: object) -> str:
    since_s = _float(since)
    if now_unix_s is None or since_s is None:
        return "-"
    seconds = max(0, round(now_unix_s - since_s))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _name(pod: Document) -> str:
    return f"{pod.get('namespace')}/{pod.get('name')}"


def objects(document: Document, key: str) -> list[Document]:
    """Return the objects of a list in a document; none where there is no list."""
    value = document.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def texts(document: Document, key: str) -> list[str]:
    """Return the texts of a list in a document; none where there is no list."""
    value = document.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [titles, *rows]
    ]


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < _NO_FIGURE else None


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _mib(value: object) -> str:
    figure = _float(value)
    return "-" if figure is None else f"{figure / 2**20:.1f}"


def _number(value: object, digits: int = 1) -> str:
    figure = _float(value)
    return "-" if figure is None else f"{figure:.{digits}f}"


def _percent(value: object) -> str:
    figure = _float(value)
    return "-" if figure is None else f"{figure:.0%}"
