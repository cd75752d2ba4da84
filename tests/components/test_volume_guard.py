"""The guard that lets the EBS driver go after the volumes: what it waits for, and where it stands."""

from __future__ import annotations

from typing import Any

from components.volumes_gone import DRIVER, SETTLE_S, given_up, wait
from tests.stacks.dryruns import GIVEN_IMAGES, render
from tests.stacks.test_program import EXISTING, SHARED, one, waits_for


def volume(name: str, phase: str, *, driver: str = DRIVER, policy: str = "Delete") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"csi": {"driver": driver}, "persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }


def test_only_what_the_driver_is_about_to_delete_is_waited_for() -> None:
    others = [
        volume("kept", "Bound"),
        volume("retained", "Released", policy="Retain"),
        volume("efs", "Released", driver="efs.csi.aws.com"),
        {"metadata": {"name": "host"}, "spec": {"hostPath": {}}, "status": {"phase": "Released"}},
    ]
    assert given_up(others) == []
    assert given_up([*others, volume("going", "Released"), volume("failed", "Failed")]) == ["going", "failed"]


def test_it_waits_until_they_are_gone_and_looks_once_they_had_time_to_be_released() -> None:
    slept: list[float] = []
    answers = iter([[volume("v", "Released")], [volume("v", "Released")], []])
    assert wait(lambda: next(answers), sleep=slept.append) == []
    assert slept == [SETTLE_S] * 3


def test_it_says_what_is_left_when_its_patience_ends() -> None:
    stuck = [volume("v", "Failed")]
    assert wait(lambda: stuck, sleep=lambda _: None, patience_s=9.0) == ["v"]


def test_it_stands_between_the_claims_and_the_driver() -> None:
    run = render("drcio", GIVEN_IMAGES)
    guard, driver = one(run, "ReplicaSet"), one(run, "Addon", "aws-ebs-csi-driver")
    assert waits_for(run, guard, driver)
    assert waits_for(run, one(run, "PersistentVolumeClaim"), guard)
    assert waits_for(run, one(run, "Namespace", "monitoring-namespace"), guard)


def test_only_who_takes_the_driver_away_has_one() -> None:
    for overrides in (EXISTING, {**SHARED, **GIVEN_IMAGES}):
        assert not [item for item in render("drcio", overrides).registrations if "guard" in item.name]
