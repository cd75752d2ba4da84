"""Where the API server is, and how to prove who we are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import EndpointError

_SERVICE_ACCOUNT = Path("var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An API server's address and credentials."""

    url: str
    """Without a trailing slash."""
    token_file: Path | None = None
    """Read anew for every request: kubelet rotates it about every hour."""
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise EndpointError(
                f"API server is {self.url!r}; expected an address that starts with http:// or https://",
                hint="for example --api-server http://127.0.0.1:8001, the address of `kubectl proxy`",
            )

    def bearer_token(self) -> str | None:
        """Return the current token, or None where none is configured."""
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EndpointError(
                f"token file {self.token_file}: {error}",
                hint="the pod needs a service account with automountServiceAccountToken: true",
            ) from error


def in_cluster(environ: Mapping[str, str], root: Path = Path("/")) -> Endpoint:
    """Return the endpoint that kubelet describes to every pod.

    `root` is where the container's file system begins; a test gives another one.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise EndpointError(
            "KUBERNETES_SERVICE_HOST is not set: this does not run inside a cluster",
            hint="outside of a cluster give --api-server URL, for example that of `kubectl proxy`",
        )
    account = root / _SERVICE_ACCOUNT
    bracketed = f"[{host}]" if ":" in host else host  # an IPv6 cluster
    return Endpoint(
        url=f"https://{bracketed}:{port}", token_file=account / "token", ca_file=account / "ca.crt"
    )


def at_url(url: str) -> Endpoint:
    """Return the endpoint at `url`, which asks for no credentials."""
    return Endpoint(url=url.rstrip("/"))
