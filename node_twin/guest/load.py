"""The load generator's process in the guest: one JSON request a line in, one JSON answer a line out.

It is the experiment's own load generator, started once and kept: a run begins with its program in
memory, and its answers stay in memory until the run is over. It is the client, not one of the node's
pods: the agent gives it a cgroup beside theirs.

{"op": "run", "plan": {...}}      one run from its warm-up to its last answer: {"record": ...}
{"op": "begin", "plan": {...}}    requests at the plan's rate, without an end: {}
{"op": "hold", "held": true}      none for a while, or go on: {}
{"op": "seen"}                    what was answered until now: {"requests": [[due, ms, fetch ms], ...]}
{"op": "end"}                     wait for the answers that are out: likewise
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import TypeAlias, cast

from load_generator.client import Client
from load_generator.errors import LoadGeneratorError
from load_generator.plan import Plan
from load_generator.run import generate
from load_generator.schedule import Arrivals, request_ids
from node_twin.jsontypes import JsonObject, JsonValue

_IDS = 1 << 14

Answered: TypeAlias = tuple[float, float | None, float | None]
"""When a request was due, what it took and its fetch, in ms; None for one that failed."""


def plan_of(fields: JsonObject) -> Plan:
    """Read a plan as it crosses the pipe; raises LoadGeneratorError for one that cannot be sent."""
    return Plan(**{**fields, "arrivals": Arrivals(str(fields["arrivals"]))})  # type: ignore[arg-type]  # Plan checks its values itself


class Stream:
    """Requests at a constant rate in a thread of their own, each kept; can be held and let go."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests: list[Answered] = []
        self._held = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="stream", daemon=True)
        self._thread.start()

    def hold(self, *, held: bool) -> None:
        """Send nothing for a while, or go on."""
        (self._held.set if held else self._held.clear)()

    def seen(self) -> list[Answered]:
        """Return what was answered until now."""
        return list(self._requests)

    def end(self) -> list[Answered]:
        """Send nothing more, wait for the answers that are out, and return all."""
        self._stop.set()
        self._thread.join()
        return self._requests

    async def _send(self) -> None:
        client = Client(self._plan)
        tasks: set[asyncio.Task[None]] = set()
        ids = request_ids(_IDS, self._plan.seed, self._plan.ids_max)
        due_s = time.monotonic()
        sent = 0
        try:
            while not self._stop.is_set():
                due_s += 1 / self._plan.rate_rps
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if not self._held.is_set():
                    task = asyncio.create_task(self._request(client, ids[sent % len(ids)], due_s))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    sent += 1
            await asyncio.gather(*tasks)
        finally:
            await client.close()

    async def _request(self, client: Client, request_id: int, due_s: float) -> None:
        answer = await client.score(request_id)
        latency_ms = (time.monotonic() - due_s) * 1000
        if answer.error is not None or "fetch" not in answer.timings_us:
            self._requests.append((due_s, None, None))
        else:
            self._requests.append((due_s, latency_ms, answer.timings_us["fetch"] / 1000))


class Service:
    """Answer requests, one at a time."""

    def __init__(self) -> None:
        self._stream: Stream | None = None

    def answer(self, request: Mapping[str, JsonValue]) -> JsonObject:
        """Carry one request out; raises ValueError for one that cannot be."""
        match request["op"]:
            case "run":
                plan = plan_of(cast(JsonObject, request["plan"]))
                began_s = time.monotonic()
                return {"began_s": began_s, "record": cast(JsonValue, generate(plan).to_json())}
            case "begin":
                self._stream = Stream(plan_of(cast(JsonObject, request["plan"])))
                return {}
            case "hold" if self._stream is not None:
                self._stream.hold(held=request["held"] is True)
                return {}
            case "seen" if self._stream is not None:
                return {"requests": self._stream.seen()}
            case "end" if self._stream is not None:
                requests, self._stream = self._stream.end(), None
                return {"requests": requests}
        raise ValueError(f"{request['op']!r} is not to be done now")


def main() -> None:
    service = Service()
    print(json.dumps({}), flush=True)  # the imports are done
    for line in sys.stdin:
        try:
            answer = service.answer(json.loads(line))
        except (LoadGeneratorError, OSError, ValueError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
