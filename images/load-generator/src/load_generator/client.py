"""One request against the service, and what became of it."""

import asyncio
from dataclasses import dataclass

import aiohttp

from load_generator.errors import NotReady
from load_generator.plan import Plan
from load_generator.server_timing import parse_server_timing

_HEADERS = {"Content-Type": "application/json"}
_READY_INTERVAL_S = 0.5
_READY_PROBE_TIMEOUT_S = 5.0

# Shorter than the 5 s after which uvicorn closes an idle connection: a request that is sent on a
# connection in the very moment in which the service closes it would count as a failure of the service.
_KEEPALIVE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A finished request: answered with durations, or failed with a kind of error."""

    error: str | None
    timings_us: dict[str, int]


class Client:
    """A session with as many connections as there are requests in flight: nothing queues in here."""

    def __init__(self, plan: Plan) -> None:
        self._url = plan.url
        self._ready_url = plan.ready_url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=plan.timeout_s),
            headers=_HEADERS,
        )

    async def close(self) -> None:
        await self._session.close()

    async def score(self, request_id: int) -> Answer:
        """POST one id and read the whole answer."""
        try:
            async with self._session.post(self._url, data=b'{"id":%d}' % request_id) as response:
                await response.read()
                status = response.status
                timing = response.headers.get("Server-Timing", "")
        except TimeoutError:
            return Answer(error="timeout", timings_us={})
        except aiohttp.ClientConnectorError:
            return Answer(error="connect", timings_us={})
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
            return Answer(error="disconnected", timings_us={})
        except aiohttp.ClientError:
            return Answer(error="protocol", timings_us={})
        if 200 <= status < 300:
            return Answer(error=None, timings_us=parse_server_timing(timing))
        return Answer(error=status_kind(status), timings_us={})

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Probe /readyz until it answers 200."""
        probe_timeout = aiohttp.ClientTimeout(total=_READY_PROBE_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            try:
                async with self._session.get(self._ready_url, timeout=probe_timeout) as response:
                    if response.status == 200:
                        return
                    found = f"status {response.status}"
            except TimeoutError:
                found = f"no answer within {_READY_PROBE_TIMEOUT_S:.0f} s"
            except aiohttp.ClientError as error:
                found = str(error)
            if loop.time() >= deadline_s:
                raise NotReady(
                    f"{self._ready_url}: {found}; expected 200 within {timeout_s:g} s",
                    hint="check that the service runs, or allow it more time with --ready-timeout",
                )
            await asyncio.sleep(_READY_INTERVAL_S)


def status_kind(status: int) -> str:
    """Name an unwanted status: 503 by itself, for overload is answered so; the others by class."""
    return "http_503" if status == 503 else f"http_{status // 100}xx"
