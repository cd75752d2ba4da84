"""A mix's programs as fio's command lines, and the pods that they run in.

All pods of a mix wait at one gate, a FIFO of the node: the protected one is created last and lets the
others in, so that everything begins by one clock and starting a pod is no part of what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from drcio_controller.config import PRIORITY_LABEL
from drcio_controller.kube.pod import QosClass
from experiments.fuzz.mix import LOW_STARTS_S, MIB, Engine, High, HighKind, Low, Mix
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.workloads import DATA_CLAIM, pod
from node_twin.layout import NAMESPACE, NODE_NAME

HIGH: Final = "high"
FILE_BYTES: Final = 256 * MIB
"""Of each program's own file: twice what a job may have in flight."""
LOG_PREFIX: Final = "ios"
"""Of fio's logs, one a thread."""
_GATE_FOLDER: Final = "/run/fuzz-gate"
"""In memory, as /run is."""
_GATE: Final = "/gate/go"
_BIN: Final = "/gate/bin"
_COPY: Final = (
    f"mkdir -p {_BIN}; for program in fio sleep chrt; do path=$(command -v $program); cp $path {_BIN}; "
    f"for file in $(ldd $path | grep -o '/[^ ]* (0x' | cut -d' ' -f1); do cp -L $file {_BIN}; done; done; "
    f"mv {_BIN}/ld-linux* {_BIN}/loader"
)
_FROM_MEMORY: Final = (f"{_BIN}/loader", "--library-path", _BIN)
_MAKE_GATE: Final = f"mkfifo {_GATE} 2>/dev/null; "
_WAIT: Final = _MAKE_GATE + f"read -r _ < {_GATE}; "
_ONCE: Final = 'exec "$@"'
_FIO_STARTS_S: Final = 0.1
_REALTIME: Final = ("chrt", "--rr", "1")
"""The twin has one CPU, where a node has one to spare for whoever waits for the volume: the protected program
never waits for its neighbours' computing, whatever their QoS classes."""
_RESOURCES: Final[Mapping[QosClass, Mapping[str, JsonValue]]] = {
    QosClass.GUARANTEED: {
        "requests": {"cpu": "1", "memory": "512Mi"},
        "limits": {"cpu": "1", "memory": "512Mi"},
    },
    QosClass.BURSTABLE: {"requests": {"cpu": "100m"}},
    QosClass.BEST_EFFORT: {},
}


def low_names(mix: Mix) -> list[str]:
    """Return the names of the yielding pods, which are those of their files too."""
    return [f"low{index}" for index in range(len(mix.low))]


def memory_pod() -> JsonObject:
    """Return a pod that copies the programs into memory, once a guest.

    From the host's file system each start would wait for the host, and the guest's clock run on meanwhile.
    """
    return _pod("memory", QosClass.BEST_EFFORT, _COPY, [])


def high_pod(mix: Mix, *, runtime_s: float, others: int) -> JsonObject:
    """Return the protected pod, which lets the others in and leaves each I/O's latency in /results."""
    lines = "\\n" * others
    script = _MAKE_GATE + f"exec 9<>{_GATE}; printf '{lines}' >&9; "
    return _pod(
        HIGH, mix.high.qos, script + _ONCE, [*_in_memory(*_REALTIME), *high_words(mix.high, runtime_s)]
    )


def low_pods(mix: Mix, *, runtime_s: float) -> list[JsonObject]:
    """Return the yielding pods, each waiting until it is let in."""
    return [
        _pod(name, low.qos, _WAIT + _repeated(low), low_words(low, name, runtime_s))
        for name, low in zip(low_names(mix), mix.low, strict=True)
    ]


def _repeated(low: Low) -> str:
    """Return the script of one that stops and goes: fio's own pauses make its first turn too long."""
    if not low.off_s:
        return _ONCE
    pause_s = LOW_STARTS_S - _FIO_STARTS_S
    sleep = " ".join(_in_memory("sleep"))
    return f'{sleep} {pause_s:g}; while :; do "$@"; {sleep} {low.off_s:g}; done'


def high_words(high: High, runtime_s: float) -> list[str]:
    """Return fio's command line for the protected program; its burst is over before it pauses."""
    if high.kind is HighKind.LOG:
        how = ["--ioengine=psync", "--rw=write", "--sync=dsync"]
    elif high.burst == 1:
        how = ["--ioengine=psync", _random(high.read_percent)]
    else:
        depth = high.burst
        how = [
            *("--ioengine=libaio", _random(high.read_percent), f"--iodepth={depth}"),
            *(f"--iodepth_batch_submit={depth}", f"--iodepth_batch_complete_min={depth}"),
        ]
    return [
        *_common(HIGH, high.block_bytes, runtime_s),
        *("--direct=1", *how, f"--rwmixread={high.read_percent}", f"--numjobs={high.threads}"),
        *(f"--thinktime={round(high.think_s * 1e6)}us", f"--thinktime_blocks={high.burst}"),
        *(f"--write_lat_log=/results/{LOG_PREFIX}", "--log_unix_epoch=1"),
        *("--disable_slat=1", "--disable_clat=1"),
    ]


def low_words(low: Low, name: str, runtime_s: float) -> list[str]:
    """Return fio's command line for a yielding program."""
    words = [
        *_common(name, low.block_bytes, low.on_s if low.off_s else runtime_s - LOW_STARTS_S),
        "--gtod_reduce=1",
    ]
    if not low.off_s:
        words.append(f"--startdelay={LOW_STARTS_S:g}")
    pattern = _sequential(low.read_percent) if low.sequential else _random(low.read_percent)
    match low.engine:
        case Engine.BUFFERED:
            words += ["--ioengine=psync", pattern, f"--fsync={max(1, low.fsync_bytes // low.block_bytes)}"]
        case Engine.THREADS:
            words += ["--direct=1", "--ioengine=psync", pattern, f"--numjobs={low.depth}"]
            if low.sequential:  # each thread a stream of its own
                part = FILE_BYTES // low.depth // low.block_bytes * low.block_bytes
                words += [f"--size={part}", f"--offset_increment={part}"]
        case _:
            words += ["--direct=1", "--ioengine=libaio", pattern, f"--iodepth={low.depth}"]
    if pattern.endswith("rw"):
        words.append(f"--rwmixread={low.read_percent}")
    return words


def _common(name: str, block_bytes: int, runtime_s: float) -> list[str]:
    return [
        *(
            *_in_memory("fio"),
            f"--name={name}",
            f"--filename=/data/{name}",
            f"--size={FILE_BYTES}",
            f"--bs={block_bytes}",
        ),
        *("--thread", "--time_based", f"--runtime={round(runtime_s * 1000)}ms", "--norandommap"),
        *("--fallocate=none", "--output-format=terse", "--output=/dev/null"),
    ]


def _in_memory(program: str, *options: str) -> list[str]:
    return [*_FROM_MEMORY, f"{_BIN}/{program}", *options]


def _random(read_percent: int) -> str:
    return {100: "--rw=randread", 0: "--rw=randwrite"}.get(read_percent, "--rw=randrw")


def _sequential(read_percent: int) -> str:
    return {100: "--rw=read", 0: "--rw=write"}.get(read_percent, "--rw=rw")


def _pod(name: str, qos: QosClass, script: str, words: Sequence[str]) -> JsonObject:
    template: JsonObject = {
        "metadata": {"labels": {PRIORITY_LABEL: "high" if name == HIGH else "low"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": name,
                    "command": ["sh", "-c", script, "sh", *words],
                    "resources": dict(_RESOURCES[qos]),
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                        {"name": "gate", "mountPath": "/gate"},
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}},
                {"name": "gate", "hostPath": {"path": _GATE_FOLDER, "type": "DirectoryOrCreate"}},
            ],
        },
    }
    return pod(name, template, namespace=NAMESPACE, node=NODE_NAME)
