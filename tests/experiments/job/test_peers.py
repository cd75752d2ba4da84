from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from drcio_controller.kube.endpoint import at_url
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from experiments.job.api import Api
from experiments.job.configmap import ConfigMap
from experiments.job.errors import PeersMissing
from experiments.job.peers import Crew, Peers
from load_generator.histogram import Histogram
from load_generator.plan import Plan
from load_generator.record import LoadRecord

NAMESPACE, NAME = "drcio", "results"


@pytest.fixture
def config_map() -> Iterator[ConfigMap]:
    store = PodStore()
    store.create(Resource.CONFIG_MAPS, NAMESPACE, {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    with serving(store) as server:
        yield ConfigMap(Api(at_url(server.url)), NAMESPACE, NAME)


@pytest.fixture
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look a few times in all while waiting in vain."""
    monkeypatch.setattr("experiments.job.peers._POLL_S", 100.0)


class Clock:
    """Time that passes only in sleep; `meanwhile` happens in the first one."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.now_s = 1000.0
        self._meanwhile = meanwhile

    def unix_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        self.now_s += seconds


def peers(config_map: ConfigMap, index: int, *, clock: Clock | None = None, job: str = "job-1") -> Peers:
    time = clock or Clock()
    return Peers(Crew(index=index, size=2, token=job), config_map, unix_s=time.unix_s, sleep=time.sleep)


def load(latency_us: int, seed: int) -> LoadRecord:
    return LoadRecord(
        plan=Plan(url="http://hp:8080/score", rate_rps=5, duration_s=10, seed=seed),
        planned=1,
        sent=1,
        window_s=10,
        errors={},
        achieved_rps=0.1,
        latency=Histogram([latency_us]),
        lag=Histogram([10]),
        timings={},
        intervals=(),
    )


def test_generators_start_at_the_moment_that_the_first_one_names(config_map: ConfigMap) -> None:
    leads = Clock(lambda: config_map.patch(data={"peer-1": "job-1 ready"}))
    peers(config_map, 0, clock=leads).start_together()
    follows = Clock()
    peers(config_map, 1, clock=follows).start_together()
    assert leads.now_s == pytest.approx(follows.now_s)


def test_histograms_are_merged_exactly_and_nothing_is_left_behind(config_map: ConfigMap) -> None:
    peers(config_map, 1).hand_over(load(3000, seed=2))
    merged = peers(config_map, 0).merged(load(1000, seed=1))
    assert (merged.sent, merged.latency.count, merged.plan.rate_rps) == (2, 2, 10)
    assert merged.latency.max_ms == pytest.approx(3, rel=0.001)
    assert config_map.read().binary == {}


@pytest.mark.usefixtures("few_looks")
def test_what_an_earlier_job_left_is_not_taken(config_map: ConfigMap) -> None:
    peers(config_map, 1, job="job-0").hand_over(load(3000, seed=2))
    with pytest.raises(PeersMissing, match=r"waited .* for the other generators' records"):
        peers(config_map, 0).merged(load(1000, seed=1))


def test_peer_that_failed_is_not_waited_for(config_map: ConfigMap) -> None:
    peers(config_map, 1).fail("the service never got ready")
    with pytest.raises(PeersMissing, match="load generator 1 failed: the service never got ready"):
        peers(config_map, 0).start_together()


@pytest.mark.usefixtures("few_looks")
def test_peer_that_never_comes_is_told(config_map: ConfigMap) -> None:
    with pytest.raises(PeersMissing, match="waited 900 s for the other generators to be ready"):
        peers(config_map, 0).start_together()


def test_damaged_record_is_told(config_map: ConfigMap) -> None:
    config_map.patch(binary={"load-1.gz": "AAAA"})
    with pytest.raises(PeersMissing, match="cannot be read"):
        peers(config_map, 0).merged(load(1000, seed=1))


def test_record_too_large_for_its_share_keeps_its_histograms(
    config_map: ConfigMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.job.peers.MAX_BYTES", 10)
    peers(config_map, 1).hand_over(load(3000, seed=2))
    assert peers(config_map, 0).merged(load(1000, seed=1)).latency.count == 2


def test_generator_that_is_alone_asks_nobody() -> None:
    alone = Peers(
        Crew(index=0, size=1, token=""), ConfigMap(Api(at_url("http://127.0.0.1:1")), NAMESPACE, NAME)
    )
    alone.start_together()
    assert alone.merged(own := load(1000, seed=1)) is own


def test_generators_have_seeds_of_their_own() -> None:
    crew = Crew(index=0, size=3, token="")
    assert len({replace(crew, index=index).seed(seed) for index in range(3) for seed in (1, 2)}) == 6
    assert Crew(index=0, size=1, token="").seed(7) == 7
