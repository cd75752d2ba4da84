"""The HTTP application."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hp_service.cgroup import io_cost
from hp_service.errors import HpServiceError, RequestError
from hp_service.metrics import Metrics
from hp_service.openapi import openapi_document
from hp_service.request import MAX_BODY_BYTES, parse_ids
from hp_service.scorer import Scored

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1


class Scoring(Protocol):
    """What the application needs of a scorer."""

    @property
    def reviews(self) -> int:
        """Ids 0 .. reviews-1 can be scored."""

    def score(self, ids: list[int]) -> Scored:
        """Score reviews by id. Called from many threads."""


def create_app(
    scorer: Scoring, metrics: Metrics, *, max_in_flight: int, version: str, readiness: Mapping[str, object]
) -> Starlette:
    """Return the application; `readiness` is what /readyz reports of the loaded service."""
    scores = _Scores(scorer, metrics, max_in_flight)

    async def healthz(_request: Request) -> Response:
        return _json(200, {"status": "ok"})

    async def readyz(_request: Request) -> Response:
        own = {"status": "ready", "in_flight": scores.in_flight, "io_cost": io_cost()}
        return _json(200, {**own, **readiness})

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(_request: Request) -> Response:
        return _json(200, openapi_document(version, scorer.reviews))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        # The server has waited for requests in flight before it comes here.
        scores.close()

    return Starlette(
        routes=[
            Route("/score", scores.answer, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
            Route("/openapi.json", openapi),
        ],
        exception_handlers={HTTPException: _no_such_route},
        lifespan=lifespan,
    )


class _Scores:
    """Answer requests for scores, so many at once and no more."""

    def __init__(self, scorer: Scoring, metrics: Metrics, max_in_flight: int) -> None:
        self._scorer = scorer
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        # One thread per admitted request: it spends its life waiting for the disk, without the
        # interpreter lock, while the event loop goes on.
        self._threads = ThreadPoolExecutor(max_in_flight, thread_name_prefix="score")
        self.in_flight = 0

    def close(self) -> None:
        """End the threads, once no request is in flight."""
        self._threads.shutdown()

    async def answer(self, request: Request) -> Response:
        """Score the reviews that one request asks for, or answer why not."""
        metrics = self._metrics
        arrived = time.perf_counter()
        if self.in_flight >= self._max_in_flight:
            metrics.requests.labels("overload").inc()
            message = f"{self.in_flight} requests are in flight, the most that is admitted"
            return _refuse(503, "overload", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.in_flight += 1
        metrics.active.set(self.in_flight)
        try:
            ids = parse_ids(await _body(request), self._scorer.reviews)
            loop = asyncio.get_running_loop()
            scored = await loop.run_in_executor(self._threads, self._scorer.score, ids)
        except ClientDisconnect:
            metrics.requests.labels("aborted").inc()
            return Response(status_code=400)  # nobody is there to read it
        except RequestError as error:
            metrics.requests.labels("invalid").inc()
            return _refuse(error.status, error.code, str(error))
        except HpServiceError as error:
            metrics.requests.labels("error").inc()
            log.error("outcome=error reason=%r", str(error))
            return _refuse(500, "internal", "the features could not be read")
        except Exception:
            metrics.requests.labels("error").inc()
            raise  # the server logs it with its traceback and answers 500
        finally:
            self.in_flight -= 1
            metrics.active.set(self.in_flight)
        response = _json(200, {"ids": ids, "scores": scored.scores}, {"Server-Timing": server_timing(scored)})
        metrics.observe(scored, time.perf_counter() - arrived)
        return response


async def _no_such_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class alone
    return _refuse(error.status_code, "no_such_route", error.detail, error.headers)


def server_timing(scored: Scored) -> str:
    """Format the parts of a request in milliseconds, as the load generator reads them."""
    parts = (("sample", scored.sample_s), ("fetch", scored.fetch_s), ("model", scored.model_s))
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(
                f"the body has more than {MAX_BODY_BYTES} bytes", status=413, code="body_too_large"
            )
    return bytes(body)


def _json(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, headers, media_type="application/json")


def _refuse(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json(status, {"error": {"code": code, "message": message}}, headers)
