"""Show a status to people: what each pod has, gets and waits for, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def render(status: Mapping[str, object]) -> str:
    """Return the tables for the document that `/status` serves."""
    pods, devices = _objects(status, "pods"), _objects(status, "devices")
    lines = [f"node {status.get('node')}   policy {status.get('policy')}"]
    rows = [
        [
            f"{pod.get('namespace')}/{pod.get('name')}",
            _text(pod.get("priority")),
            _text(pod.get("qos")),
            _text(pod.get("weight_set")),
            *_device_cells(entry),
        ]
        for pod in pods
        if pod.get("weight") is not None
        for entry in _objects(pod, "devices") or [{}]
    ]
    titles = ["POD", "CLASS", "QOS", "WEIGHT", "DEVICE", "EFFECT", "MIB/S", "IO/S", "STALL", "SHARE", "OF"]
    lines += ["", *(_table(titles, rows) if rows else ["no managed pods"])]
    for device in devices:
        lines += [
            "",
            f"{device.get('name')} ({device.get('device')})  engine {device.get('engine')}"
            f"  {device.get('profile_iops')} IOPS, {_number(device.get('profile_mib_s'))} MiB/s"
            f" ({device.get('profile_source')})",
            f"  {device.get('state')}: {device.get('reason')}",
            f"  budget {_number(device.get('budget_ratio'), 3)}"
            f"  used {_percent(device.get('budget_used_ratio'))}"
            f"  latency {_number(device.get('latency_ms'))} ms  in flight {device.get('in_flight')}",
        ]
        if device.get("engine_note"):
            lines.append(f"  note: {device.get('engine_note')}")
    problems = status.get("problems")
    if isinstance(problems, list):
        lines += [f"problem: {problem}" for problem in problems]
    if status.get("config_error"):
        lines.append(f"configuration refused: {status.get('config_error')}")
    return "\n".join(lines)


def _device_cells(entry: Mapping[str, object]) -> list[str]:
    rate = entry.get("bytes_per_s")
    return [
        _text(entry.get("device")),
        _text(entry.get("effect")),
        _number(rate / 2**20) if isinstance(rate, int | float) else "-",
        _number(entry.get("ios_per_s"), 0),
        _percent(entry.get("io_stall_ratio")),
        _percent(entry.get("share_achieved")),
        _percent(entry.get("share_intended")),
    ]


def _objects(document: Mapping[str, object], key: str) -> list[dict[str, object]]:
    value = document.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [titles, *rows]
    ]


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _number(value: object, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def _percent(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "-"
