from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from drcio_controller.kube.endpoint import Endpoint, at_url
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from experiments.job.api import Api
from experiments.job.configmap import ConfigMap, Contents
from experiments.job.errors import NotPublished

NAMESPACE, NAME = "drcio", "results"


def store() -> PodStore:
    made = PodStore()
    made.create(Resource.CONFIG_MAPS, NAMESPACE, {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    return made


def test_entries_are_merged_and_removed_one_by_one() -> None:
    with serving(store()) as server:
        config_map = ConfigMap(Api(at_url(server.url)), NAMESPACE, NAME)
        assert config_map.read() == Contents()
        config_map.patch(data={"a": "1", "b": "2"}, binary={"c": "AA=="})
        config_map.patch(data={"a": None, "d": "3"})
        assert config_map.read() == Contents(data={"b": "2", "d": "3"}, binary={"c": "AA=="})


def test_server_that_is_overloaded_for_a_while_is_asked_again() -> None:
    pauses: list[float] = []
    with serving(store()) as server:
        server.faults.fail_next(3, HTTPStatus.SERVICE_UNAVAILABLE)
        ConfigMap(Api(at_url(server.url), sleep=pauses.append), NAMESPACE, NAME).patch(data={"a": "1"})
    assert pauses == [1.0, 2.0, 4.0]


def test_server_that_stays_away_is_given_up() -> None:
    pauses: list[float] = []
    gone = ConfigMap(Api(at_url("http://127.0.0.1:1"), sleep=pauses.append), NAMESPACE, NAME)
    with pytest.raises(NotPublished, match="ConfigMap drcio/results: GET failed"):
        gone.read()
    assert sum(pauses) == 31.0


def test_refusal_is_not_asked_again() -> None:
    pauses: list[float] = []
    with serving(store()) as server, pytest.raises(NotPublished, match=r"404 .* not found"):
        ConfigMap(Api(at_url(server.url), sleep=pauses.append), NAMESPACE, "other").read()
    assert pauses == []


def test_token_is_read_anew_for_every_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with serving(store(), ApiOptions(token="second")) as server:  # noqa: S106  # made up
        config_map = ConfigMap(Api(Endpoint(url=server.url, token_file=token)), NAMESPACE, NAME)
        token.write_text("first")
        with pytest.raises(NotPublished, match="401"):
            config_map.read()
        token.write_text("second")
        assert config_map.read() == Contents()


def test_unreadable_token_is_told_with_its_remedy(tmp_path: Path) -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1", token_file=tmp_path / "none")
    with pytest.raises(NotPublished, match="token file") as raised:
        ConfigMap(Api(endpoint), NAMESPACE, NAME).read()
    assert "automountServiceAccountToken" in str(raised.value.hint)
