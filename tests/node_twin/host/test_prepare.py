"""Twins that start together prepare what they share one after the other."""

from __future__ import annotations

import fcntl
import json
import platform
import threading
from pathlib import Path

import pytest

from node_twin.errors import BootError, KernelError
from node_twin.host import prepare
from node_twin.host.kernel import Kernel
from node_twin.host.prepare import TwinConfig, prepared


def test_second_says_that_it_waits_and_goes_on_once_the_first_is_done(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    waiting = threading.Event()
    config = TwinConfig(output=tmp_path / "out", cache=cache, volumes=(), kernel=str(tmp_path / "none"))
    with (cache / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)

        def let_go() -> None:
            waiting.wait(30)
            fcntl.flock(first, fcntl.LOCK_UN)

        release = threading.Thread(target=let_go)
        release.start()
        with pytest.raises(KernelError, match="no kernel"):
            prepared(config, report=lambda text: waiting.set() if text.startswith("waiting") else None)
        release.join()
    assert waiting.is_set()


@pytest.mark.parametrize(("earlier", "trials"), [(None, 1), (False, 1), (True, 0)])
def test_kvm_that_is_insisted_on_is_tried_and_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool | None, trials: int
) -> None:
    tried: list[Path] = []
    kernel = Kernel(image=tmp_path / "vmlinuz", modules=tmp_path / "6.12.1")
    monkeypatch.setattr(prepare, "ensure_kernel", lambda *_args, **_options: kernel)

    def boots(_trial: object, console: Path) -> bool:
        tried.append(console)
        return False

    monkeypatch.setattr(prepare, "kvm_boots", boots)
    monkeypatch.setattr(prepare, "compile_programs", lambda _repository: None)
    monkeypatch.setattr(prepare, "build_server", lambda _cache: tmp_path / "server")
    if earlier is not None:
        here = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), platform.node(), "6.12.1"]
        (tmp_path / "kvm.json").write_text(json.dumps({"here": here, "boots": earlier}))
    config = TwinConfig(output=tmp_path / "out", cache=tmp_path, volumes=(), kvm="on")
    if earlier:
        assert prepared(config).kvm
    else:
        with pytest.raises(BootError, match="no guest boots with KVM") as raised:
            prepared(config)
        assert "--kvm auto" in str(raised.value.hint)
    assert len(tried) == trials
