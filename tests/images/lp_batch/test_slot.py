from pathlib import Path

import pytest

from lp_batch.errors import EnvironmentFault
from lp_batch.slot import claimed_slot


def test_jobs_on_one_directory_get_slots_of_their_own(tmp_path: Path) -> None:
    with claimed_slot(tmp_path / "lp") as first, claimed_slot(tmp_path / "lp") as second:
        assert first == tmp_path / "lp"
        assert second == tmp_path / "lp" / "slot-1"


def test_a_slot_that_is_free_again_is_used_again(tmp_path: Path) -> None:
    with claimed_slot(tmp_path) as first:
        pass
    with claimed_slot(tmp_path) as again:
        assert again == first


def test_a_lock_of_another_owner_in_a_prepared_image_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / "lp.lock").touch(mode=0o444)
    with claimed_slot(tmp_path) as slot:
        assert slot == tmp_path


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot work in"), claimed_slot(tmp_path / "file" / "lp"):
        pass
