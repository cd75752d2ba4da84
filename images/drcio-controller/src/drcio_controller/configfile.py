"""Follow a configuration file: a good one is taken at once, a bad one leaves the last good in force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drcio_controller.config import MAX_FILE_BYTES, Config, parse
from drcio_controller.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Identity:
    """What changes when a file does; kubelet swaps a symbolic link, so the inode does too."""

    inode: int
    modified_ns: int
    size_bytes: int


class ConfigFile:
    """One file, read again when it changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._identity: _Identity | None = None
        self.config = Config()
        self.error = ""
        """Why the file on disk is not the one in force; empty if it is."""
        self._hint: str | None = None

    def load(self) -> None:
        """Look at the file for somebody who has no good one from before to go on with.

        Raises:
            ConfigError: it is refused, or cannot be read.
        """
        self.poll()
        if self.error:
            raise ConfigError(self.error, hint=self._hint)

    def poll(self) -> bool:
        """Look at the file; return True if another configuration is in force now.

        A file that is missing keeps the last good one and is an error: a ConfigMap that is mounted
        has its file.
        """
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            identity = _Identity(found.st_ino, found.st_mtime_ns, found.st_size)
            if identity == self._identity:
                return False
            self._identity = identity
            config = parse(_read(self._path))
        except OSError as error:
            self._identity = None
            self.error, self._hint = f"{self._path}: {error.strerror}", "name a readable file by --config"
            return False
        except ConfigError as error:
            self.error, self._hint = f"{self._path}: {error}", error.hint
            return False
        self.error = ""
        changed = config != self.config
        self.config = config
        return changed


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("configuration is not UTF-8 text") from error
