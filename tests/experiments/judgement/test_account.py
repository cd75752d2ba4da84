from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.status.model import DeviceStatus, Effect, NodeStatus, PodOnDevice, PodStatus
from experiments.judgement.account import INERT, is_inert, of_device
from experiments.judgement.testing import DEVICE, HP_POD
from experiments.records.jsonfields import JsonObject, JsonValue
from tests.experiments.build import OTHER_DEVICE

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def account(effect: str) -> JsonObject:
    return {
        "devices": [
            {"device": OTHER_DEVICE, "state": "open"},
            {"device": DEVICE, "state": "holding", "engine": "iocost"},
        ],
        "pods": [{"name": HP_POD, "devices": [{"device": DEVICE, "effect": effect}]}],
    }


def test_state_is_that_of_the_services_device() -> None:
    assert of_device(account("effective"), [DEVICE], "state") == "holding"
    assert of_device(account("effective"), ["9:9"], "state") is None


def test_engine_is_that_of_the_services_device() -> None:
    assert of_device(account("effective"), [DEVICE], "engine") == "iocost"
    assert of_device(account("effective"), [OTHER_DEVICE], "engine") is None


def test_inert_weight_counts_only_for_the_service_on_its_device() -> None:
    assert is_inert(account("inert"), [HP_POD], [DEVICE])
    assert not is_inert(account("inert"), ["other"], [DEVICE])
    assert not is_inert(account("inert"), [HP_POD], [OTHER_DEVICE])
    assert not is_inert(account("idle"), [HP_POD], [DEVICE])


@given(devices=JSON, pods=JSON)
def test_account_of_any_shape_is_read_or_passed_over(devices: JsonValue, pods: JsonValue) -> None:
    odd: JsonObject = {"devices": devices, "pods": pods}
    assert of_device(odd, [DEVICE], "state") is None
    assert of_device(odd, [DEVICE], "engine") is None
    assert not is_inert(odd, [HP_POD], [DEVICE])


def test_names_are_those_of_the_controllers_own_status() -> None:
    """The controller's classes are the source of the field names that are read here."""
    assert Effect.INERT.value == INERT
    assert {"pods", "devices"} <= set(NodeStatus.__dataclass_fields__)
    assert {"name", "devices"} <= set(PodStatus.__dataclass_fields__)
    assert {"device", "effect"} <= set(PodOnDevice.__dataclass_fields__)
    assert {"device", "state", "engine"} <= set(DeviceStatus.__dataclass_fields__)
