from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from hp_service.app import create_app, server_timing
from hp_service.errors import FeatureReadError
from hp_service.metrics import LATENCY_BUCKETS_S, Metrics
from hp_service.openapi import openapi_document
from hp_service.request import MAX_BODY_BYTES
from hp_service.scorer import Scored

CONTRACT_METRICS = {
    "gnn_request_latency_seconds",
    "gnn_requests",
    "gnn_active_requests",
    "gnn_risk_score",
    "gnn_feature_fetch_seconds",
}


@dataclass
class FakeScorer:
    """Scores without a model; waits for `gate` as a slow disk would make it wait."""

    reviews: int = 1000
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    failure: Exception | None = None

    def score(self, ids: list[int]) -> Scored:
        self.waiting.release()
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return Scored(scores=[0.25] * len(ids), rows=30, sample_s=0.001, fetch_s=0.0123, model_s=0.02)


Talk = Callable[[httpx.AsyncClient], Awaitable[None]]


def converse(scorer: FakeScorer, talk: Talk, max_in_flight: int = 64) -> Metrics:
    """Run `talk` against the application in this process; return its metrics."""
    metrics = Metrics("o_direct+aio")
    app = create_app(
        scorer,
        metrics,
        max_in_flight=max_in_flight,
        version="0",
        readiness={"read_path": "o_direct+aio"},
    )

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://hp") as client,
        ):
            await talk(client)

    asyncio.run(run())
    return metrics


@pytest.fixture
def scorer() -> FakeScorer:
    scorer = FakeScorer()
    scorer.gate.set()
    return scorer


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_scores_come_with_ids_and_server_timing(scorer: FakeScorer) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        response = await client.post("/score", json={"ids": [5, 6]})
        assert response.status_code == 200
        assert response.json() == {"ids": [5, 6], "scores": [0.25, 0.25]}
        assert response.headers["server-timing"] == "sample;dur=1.000, fetch;dur=12.300, model;dur=20.000"

    metrics = converse(scorer, talk)
    assert value(metrics, "gnn_requests_total", outcome="ok") == 1
    assert value(metrics, "gnn_feature_fetch_seconds_sum") == 0.0123
    assert value(metrics, "gnn_risk_score_count") == 2
    assert value(metrics, "gnn_feature_rows_read_total") == 30


def test_invalid_requests_are_4xx_with_a_json_body_and_are_counted(scorer: FakeScorer) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        for body, status, code in (
            (b"nonsense", 400, "not_json"),
            (b'{"id":1000}', 404, "unknown_id"),
            (b'{"id":"1"}', 422, "invalid_request"),
            (b" " * (MAX_BODY_BYTES + 1), 413, "body_too_large"),
        ):
            response = await client.post("/score", content=body)
            assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        for method, path, status in (("GET", "/score", 405), ("GET", "/nowhere", 404)):
            response = await client.request(method, path)
            assert (response.status_code, response.json()["error"]["code"]) == (status, "no_such_route")

    metrics = converse(scorer, talk)
    assert value(metrics, "gnn_requests_total", outcome="invalid") == 4
    assert value(metrics, "gnn_active_requests") == 0


def test_slow_disk_does_not_block_other_requests(scorer: FakeScorer) -> None:
    scorer.gate.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        slow = [asyncio.create_task(client.post("/score", json={"id": i})) for i in range(8)]
        for _ in slow:
            await asyncio.to_thread(scorer.waiting.acquire, timeout=5)
        started = time.monotonic()
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        ready = (await client.get("/readyz")).json()
        assert ready["in_flight"] == 8
        assert ready["io_cost"] in (True, False, None)
        assert time.monotonic() - started < 1
        scorer.gate.set()
        assert {response.status_code for response in await asyncio.gather(*slow)} == {200}

    converse(scorer, talk)


def test_overload_is_refused_at_once_and_recovers(scorer: FakeScorer) -> None:
    scorer.gate.clear()

    async def talk(client: httpx.AsyncClient) -> None:
        admitted = [asyncio.create_task(client.post("/score", json={"id": i})) for i in range(2)]
        for _ in admitted:
            await asyncio.to_thread(scorer.waiting.acquire, timeout=5)
        refused = await client.post("/score", json={"id": 3})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "overload"
        scorer.gate.set()
        assert {response.status_code for response in await asyncio.gather(*admitted)} == {200}
        assert (await client.post("/score", json={"id": 3})).status_code == 200

    metrics = converse(scorer, talk, max_in_flight=2)
    assert value(metrics, "gnn_requests_total", outcome="overload") == 1
    assert value(metrics, "gnn_requests_total", outcome="ok") == 3


def test_unreadable_features_are_500_without_details(scorer: FakeScorer) -> None:
    scorer.failure = FeatureReadError("feature row 5 holds node 0")

    async def talk(client: httpx.AsyncClient) -> None:
        response = await client.post("/score", json={"id": 5})
        assert response.status_code == 500
        assert "node 0" not in response.text

    metrics = converse(scorer, talk)
    assert value(metrics, "gnn_requests_total", outcome="error") == 1


def test_unexpected_failure_is_counted(scorer: FakeScorer) -> None:
    scorer.failure = ZeroDivisionError()

    async def talk(client: httpx.AsyncClient) -> None:
        with pytest.raises(ZeroDivisionError):
            await client.post("/score", json={"id": 5})

    metrics = converse(scorer, talk)
    assert value(metrics, "gnn_requests_total", outcome="error") == 1
    assert value(metrics, "gnn_active_requests") == 0


def test_metrics_carry_the_contracts_names(scorer: FakeScorer) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        text = (await client.get("/metrics")).text
        assert 'gnn_feature_read_path_info{path="o_direct+aio"} 1.0' in text
        assert "gnn_requests_total" in text

    metrics = converse(scorer, talk)
    assert {family.name for family in metrics.registry.collect()} >= CONTRACT_METRICS


def test_buckets_resolve_1_ms_to_10_s() -> None:
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.001, 10.0)
    steps = [b / a for a, b in pairwise(LATENCY_BUCKETS_S)]
    assert min(steps) > 1
    assert max(steps) < 1.7


def test_answers_follow_the_openapi_document(scorer: FakeScorer) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        assert document == openapi_document("0", scorer.reviews)
        responses = document["paths"]["/score"]["post"]["responses"]
        for body in ({"id": 1}, {"ids": [1, 2]}, {"id": 10**9}, {"id": "1"}):
            answer = await client.post("/score", json=body)
            schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json(), {**schema, "components": document["components"]})

    converse(scorer, talk)


def test_server_timing_is_in_milliseconds() -> None:
    scored = Scored(scores=[], rows=0, sample_s=0.0000005, fetch_s=1.5, model_s=0)
    assert server_timing(scored) == "sample;dur=0.001, fetch;dur=1500.000, model;dur=0.000"
