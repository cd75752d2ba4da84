"""Load a prepared directory and serve it until SIGTERM."""

from __future__ import annotations

import gc
import logging
import signal
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import uvicorn

from hp_service.app import create_app
from hp_service.metrics import Metrics
from hp_service.scorer import load_scorer

log = logging.getLogger(__name__)

DISTRIBUTION = "drcio-hp-service"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    data_dir: Path
    host: str
    port: int
    max_in_flight: int
    drain_s: int
    """How long requests in flight may go on after SIGTERM."""
    allow_aio: bool = True


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight. Raises DatasetError at the start."""
    started = time.monotonic()
    scorer = load_scorer(options.data_dir, allow_aio=options.allow_aio)
    read_path = scorer.reader.path
    # The first pass through the model builds its message-flow block and touches every library page.
    scorer.score([0])
    metrics = Metrics(read_path.name)
    readiness = {
        "read_path": read_path.name,
        "read_path_reason": read_path.reason,
        "reviews": scorer.reviews,
        "max_in_flight": options.max_in_flight,
    }
    app = create_app(
        scorer,
        metrics,
        max_in_flight=options.max_in_flight,
        version=version(DISTRIBUTION),
        readiness=readiness,
    )
    # The imports leave half a million objects that live for ever: keep the collector off them.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        http="httptools",
        ws="none",
        timeout_graceful_shutdown=options.drain_s,
        server_header=False,
    )
    log.info(
        "event=loaded address=%s:%d read_path=%s reason=%r reviews=%d load_s=%.1f",
        options.host,
        options.port,
        read_path.name,
        read_path.reason,
        scorer.reviews,
        time.monotonic() - started,
    )
    # uvicorn drains on SIGTERM and then raises it again, which is no failure of this command.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        uvicorn.Server(config).run()
    finally:
        scorer.close()
    log.info("event=stopped")
