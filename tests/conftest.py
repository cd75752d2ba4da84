"""Where tests run side by side: which of them share a worker."""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling


class _SharedGuest(LoadFileScheduling):
    """A file stays on one worker, and so does the folder whose files share a guest."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return str(file.parent if file.parent == Path("tests/twin") else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _SharedGuest(config, log) if config.getvalue("dist") == "loadfile" else None
