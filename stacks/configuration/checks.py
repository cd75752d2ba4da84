"""Checks of single texts: each returns what was expected, or None when the text is fine."""

import ipaddress
import re
from collections.abc import Callable

from drcio_controller.config import parse_latency_target
from drcio_controller.errors import ConfigError as ControllerConfigError

_DIGEST_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|Ki|Mi|Gi)?\Z")


def matching(pattern: str, expected: str) -> Callable[[str], str | None]:
    """Return a check that a whole text matches a pattern."""
    compiled = re.compile(pattern)
    return lambda text: None if compiled.fullmatch(text) else expected


def optional(check: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return a check that accepts an empty text, which stands for "not given"."""
    return lambda text: None if text == "" else check(text)


def digest_reference(text: str) -> str | None:
    """Accept an image by digest: a tag can be moved under a running experiment."""
    return None if _DIGEST_REFERENCE.match(text) else "an image by digest, NAME@sha256:<64 hex digits>"


def dns_label(text: str) -> str | None:
    """Accept what Kubernetes takes as a namespace or object name."""
    if len(text) <= 63 and _DNS_LABEL.match(text):
        return None
    return "at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"


def short_dns_label(longest: int) -> Callable[[str], str | None]:
    """Return a check for a DNS label to which something is added."""
    expected = (
        f"at most {longest} lower-case letters, digits and '-', starting and ending with a letter or digit"
    )
    return lambda text: None if dns_label(text) is None and len(text) <= longest else expected


def latency_target(text: str) -> str | None:
    """Accept what the controller accepts as a target."""
    if text == "":
        return None
    try:
        parse_latency_target(text)
    except ControllerConfigError:
        return "a target such as p95<100ms, or nothing"
    return None


def quantity(text: str) -> str | None:
    """Accept a Kubernetes resource quantity."""
    return None if _QUANTITY.match(text) else "a Kubernetes quantity such as 500m or 2Gi"


def cidr(text: str) -> str | None:
    """Accept an IPv4 network without host bits."""
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        return "an IPv4 network such as 10.0.0.0/16, without host bits"
    return None


def vpc_cidr(text: str) -> str | None:
    """Accept a private network that leaves every one of sixteen subnets at least 256 addresses."""
    expected = "a private IPv4 network from /16 to /20 such as 10.0.0.0/16, without host bits"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return expected
    return None if network.is_private and 16 <= network.prefixlen <= 20 else expected
