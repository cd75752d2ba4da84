"""Checks of single texts: each returns what was expected, or None when the text is fine."""

import ipaddress
import re
from collections.abc import Callable

from components.aws_facts import EKS_VERSIONS
from drcio_controller.config import POLICY_CHOICES, parse_latency_target, parse_policy
from drcio_controller.errors import ConfigError as ControllerConfigError

_DIGEST_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_CPU = re.compile(r"([0-9]{1,6})(\.[0-9]{1,3})?(m?)\Z")
_MEMORY = re.compile(r"([0-9]{1,15})(\.[0-9]{1,3})?(|k|M|G|Ki|Mi|Gi)\Z")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_LEAST_MEMORY = 16 * 2**20
_REGISTRY = re.compile(
    # A host and perhaps its port; then path components (distribution, "reference" grammar).
    r"[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\Z"
)
_INSTANCE_SIZE = r"(nano|micro|small|medium|([0-9]{0,3}x)?large|metal(-[0-9]{1,3}xl)?)"
"""EC2 instance types, "Naming conventions"."""
_RESERVED = ("default", "kube")
"""The API server's own namespaces, and what `kube-` begins (Kubernetes, "Namespaces")."""


_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918: what a VPC is made of (VPC user guide, "VPC CIDR blocks")."""
_NEVER_PUBLIC = (
    *_PRIVATE,
    *map(
        ipaddress.IPv4Network,
        # This host, carriers' NAT, loopback, link-local, and what begins with multicast (RFC 6890).
        ("0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
    ),
)


def matching(pattern: str, expected: str) -> Callable[[str], str | None]:
    """Return a check that a whole text matches a pattern."""
    compiled = re.compile(pattern, re.ASCII)
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


def readable(read: Callable[[str], object], expected: str) -> Callable[[str], str | None]:
    """Return a check that accepts what the controller reads."""

    def check(text: str) -> str | None:
        try:
            read(text)
        except ControllerConfigError:
            return expected
        return None

    return check


policy = readable(parse_policy, f"one of {POLICY_CHOICES}")
latency_target = optional(readable(parse_latency_target, "a target such as p95<100ms, or nothing"))


def namespace(longest: int) -> Callable[[str], str | None]:
    """Return a check for a namespace of a stack's own, to whose name something is added."""
    label = short_dns_label(longest)

    def check(text: str) -> str | None:
        if text in _RESERVED or text.startswith("kube-"):
            return "a namespace that is not Kubernetes' own"
        return label(text)

    return check


def cpu(text: str) -> str | None:
    """Accept a Kubernetes quantity of CPUs above none."""
    found = _CPU.match(text)
    if found and float(found[1] + (found[2] or "")) > 0 and not (found[2] and found[3]):
        return None
    return "a Kubernetes quantity of CPUs such as 500m or 2"


def memory(text: str) -> str | None:
    """Accept a Kubernetes quantity of bytes that a process fits into: without a unit it is bytes."""
    found = _MEMORY.match(text)
    if found and float(found[1] + (found[2] or "")) * _UNITS[found[3]] >= _LEAST_MEMORY:
        return None
    return "a Kubernetes quantity of at least 16Mi such as 512Mi or 2Gi"


def registry(text: str) -> str | None:
    """Accept what an image's name may begin with."""
    if _REGISTRY.match(text):
        return None
    return "a registry's host and a path, in lower case, without https:// and without / at the end"


def instance_type(text: str) -> str | None:
    """Accept an instance type of the processors that the images and the nodes' system are built for.

    EC2 instance types, "Naming conventions": `g` after the generation is an AWS Graviton processor, and so
    is the family a1.
    """
    family = re.fullmatch(rf"([a-z][a-z0-9-]*)\.{_INSTANCE_SIZE}", text, re.ASCII)
    if family is None:
        return "an instance type such as m6i.xlarge"
    if family[1].startswith("mac"):
        return "an instance type that runs Linux"
    if family[1] == "a1" or re.match(r"[a-z]+[0-9]+g", family[1]):
        return "an instance type with x86-64 processors: the images and the nodes' system are built for these"
    return None


def eks_version(text: str) -> str | None:
    """Accept a Kubernetes version that EKS makes clusters of."""
    if text in EKS_VERSIONS:
        return None
    return f"one of {', '.join(EKS_VERSIONS)}, which EKS has in standard support"


def endpoint_cidr(text: str) -> str | None:
    """Accept a network that can reach a public endpoint.

    EKS user guide, "Cluster API server endpoint": a CIDR block, which cannot include reserved addresses.
    """
    expected = "an IPv4 network of public addresses such as 203.0.113.0/24 (one address is /32)"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return expected
    return None if "/" in text and not any(map(network.subnet_of, _NEVER_PUBLIC)) else expected


def vpc_cidr(text: str) -> str | None:
    """Accept a private network that leaves every one of sixteen subnets at least 256 addresses."""
    expected = "a private IPv4 network from /16 to /20 such as 10.0.0.0/16, without host bits"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return expected
    return None if any(map(network.subnet_of, _PRIVATE)) and 16 <= network.prefixlen <= 20 else expected
