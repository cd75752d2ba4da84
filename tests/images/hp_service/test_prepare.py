from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hp_service import dataset, source
from hp_service.dataset import Metadata, load_metadata
from hp_service.errors import DatasetError
from hp_service.prepare import PrepareOptions, prepare, stale_because
from hp_service.scorer import load_scorer
from hp_service.source import Reviews

Prepared = tuple[Path, Metadata]


def quiet(_step: str, _done: float, _text: str) -> None:
    """Report nothing."""


@pytest.fixture
def own(options: PrepareOptions, prepared: Prepared, tmp_path: Path) -> PrepareOptions:
    """Options for a copy of the prepared directory that the test may damage."""
    copy = tmp_path / "data"
    copy.mkdir()
    for file in prepared[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return replace(options, data_dir=copy)


def test_metadata_describes_what_was_made(prepared: Prepared, reviews: Reviews) -> None:
    data_dir, metadata = prepared
    assert load_metadata(data_dir) == metadata
    assert metadata.graph.reviews == reviews.count
    assert set(metadata.files) == {"features.bin", "graph.npz", "weights.npz"}
    assert metadata.split.train + metadata.split.validation + metadata.split.test == reviews.count
    assert 0 < metadata.quality.model.auc <= 1
    assert metadata.quality.published


def test_prepared_directory_is_up_to_date(options: PrepareOptions, prepared: Prepared) -> None:
    assert stale_because(options) == ""
    assert stale_because(replace(options, verify=True)) == ""


def test_other_inputs_make_a_directory_stale(options: PrepareOptions, prepared: Prepared) -> None:
    for other in (replace(options, seed=8), replace(options, scale=2), replace(options, epochs=3)):
        assert stale_because(other) == "it was prepared from other inputs"


@pytest.mark.parametrize("name", ["features.bin", "graph.npz", "weights.npz"])
def test_missing_or_cut_file_makes_a_directory_stale(name: str, own: PrepareOptions) -> None:
    path = own.data_dir / name
    path.write_bytes(path.read_bytes()[:-1])
    assert name in stale_because(own)
    path.unlink()
    assert f"{name} is missing" in stale_because(own)


def test_flipped_bit_in_the_feature_file_is_found_by_verify(own: PrepareOptions) -> None:
    path = own.data_dir / dataset.FEATURES_FILE
    content = bytearray(path.read_bytes())
    content[2] ^= 1
    path.write_bytes(content)
    assert stale_because(own) == ""
    assert "features.bin has sha256" in stale_because(replace(own, verify=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "schema is None"),
        ('{"schema": "other/9"}', "schema is 'other/9', expected 'drcio.hp-dataset/1'"),
        ('{"schema": "drcio.hp-dataset/1"}', "is incomplete"),
    ],
)
def test_damaged_metadata_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        load_metadata(tmp_path)


def test_same_seed_makes_the_same_files(options: PrepareOptions, prepared: Prepared, tmp_path: Path) -> None:
    again = prepare(replace(options, data_dir=tmp_path / "again"), quiet)
    assert again.files == prepared[1].files
    assert again.quality == prepared[1].quality


def test_failure_leaves_the_old_directory_and_nothing_else(
    own: PrepareOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (own.data_dir / "metadata.json").read_bytes()

    def disk_is_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hp_service.prepare.write_rows", disk_is_full)
    with pytest.raises(DatasetError, match="cannot be written: No space left") as caught:
        prepare(replace(own, seed=99), quiet)
    assert caught.value.hint == "scale 1 needs about 0.4 GB"
    assert (own.data_dir / "metadata.json").read_bytes() == before
    assert sorted(path.name for path in own.data_dir.parent.iterdir()) == [".data.lock", "data"]


@pytest.mark.parametrize("name", ["thesis.tex", ".git"])
def test_directory_with_files_of_others_is_never_replaced(
    name: str, options: PrepareOptions, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(DatasetError, match=f"holds '{name}', expected nothing but prepared files"):
        prepare(replace(options, data_dir=tmp_path), quiet)
    assert (tmp_path / name).read_text() == "precious"


def test_second_prepare_waits_for_the_first_and_takes_its_result(
    own: PrepareOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        with (own.data_dir.parent / ".data.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = threads.submit(prepare, own, lambda step, _done, _text: steps.append(step))
            while not steps:
                time.sleep(0.01)
        assert second.result(30) == load_metadata(own.data_dir)
    assert steps == ["wait"]


def test_sigterm_stops_prepare_and_leaves_nothing(tmp_path: Path, options: PrepareOptions) -> None:
    code = (
        "import sys, hp_service.source as s, hp_service.cli as c;"
        f"s.WHEEL_SHA256 = {source.WHEEL_SHA256!r};"
        "sys.exit(c.main(sys.argv[1:]))"
    )
    arguments = ["prepare", "--data", str(tmp_path / "data"), "--cache-dir", str(options.cache_dir)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--epochs", "100000"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if line.startswith("train"):
                break
        process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == [".data.lock"]


def test_what_a_killed_process_left_is_removed(own: PrepareOptions) -> None:
    abandoned = own.data_dir.parent / ".data.preparing-abc"
    abandoned.mkdir()
    prepare(replace(own, scale=2), quiet)
    assert not abandoned.exists()
    assert load_metadata(own.data_dir).inputs.scale == 2


def test_scaled_graph_scores_every_copy(options: PrepareOptions, reviews: Reviews, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    metadata = prepare(replace(options, data_dir=data_dir, scale=3), quiet)
    assert metadata.graph.reviews == 3 * reviews.count
    assert metadata.files["features.bin"].bytes == 4096 * metadata.graph.nodes
    scorer = load_scorer(data_dir)
    scored = scorer.score([0, 3 * reviews.count - 1])
    assert all(0 <= score <= 1 for score in scored.scores)
    scorer.close()


def test_service_scores_as_training_measured(prepared: Prepared) -> None:
    data_dir, metadata = prepared
    scorer = load_scorer(data_dir)
    everything = list(range(metadata.graph.reviews))
    alone = [scorer.score([review]).scores[0] for review in everything[:40]]
    together = scorer.score(everything[:40])
    np.testing.assert_allclose(together.scores, alone, rtol=1e-5)
    assert len(everything) > 40
    assert together.rows <= metadata.graph.nodes
    assert scorer.score([3]).scores == scorer.score([3]).scores
    scorer.close()


def test_directory_of_another_architecture_is_refused(own: PrepareOptions) -> None:
    path = own.data_dir / "metadata.json"
    document = json.loads(path.read_text())
    document["inputs"]["architecture"] = "graphsage-9hop"
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="was prepared for graphsage-9hop, expected graphsage-2hop"):
        load_scorer(own.data_dir)


def test_weights_of_another_shape_are_refused(own: PrepareOptions) -> None:
    path = own.data_dir / "metadata.json"
    document = json.loads(path.read_text())
    document["inputs"]["features"].append("one more")
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="does not fit the model"):
        load_scorer(own.data_dir)
