"""Where the API server is."""

from pathlib import Path

import pytest

from drcio_controller.kube.endpoint import Endpoint, at_url, in_cluster
from drcio_controller.kube.errors import EndpointError

ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


def test_in_cluster_endpoint_is_what_kubelet_describes(tmp_path: Path) -> None:
    endpoint = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert endpoint.url == "https://[fd00::1]:443"
    assert endpoint.ca_file == tmp_path / ACCOUNT / "ca.crt"


def test_rotated_token_is_picked_up(tmp_path: Path) -> None:
    token = tmp_path / "token"
    endpoint = Endpoint(url="https://x", token_file=token)
    token.write_text("one\n")
    first = endpoint.bearer_token()
    token.write_text("two\n")
    assert (first, endpoint.bearer_token()) == ("one", "two")


def test_outside_of_a_cluster_the_remedy_is_named() -> None:
    with pytest.raises(EndpointError, match="does not run inside") as caught:
        in_cluster({})
    assert "--api-server" in caught.value.hint


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "unix:///x"])
def test_address_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(EndpointError, match="http://"):
        at_url(url)


def test_missing_token_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="token"):
        Endpoint(url="https://x", token_file=tmp_path / "token").bearer_token()
