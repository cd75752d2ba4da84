"""The options that say which guest to boot, refused at once where no guest could be."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Final

from node_twin.errors import KernelError
from node_twin.host.kernel import DEFAULT_KERNEL, SUITES, check_kernel

MOST_GUESTS: Final = 2
"""A third would boot for as long as it saves of three runs."""
_LEAST_MEMORY_MIB: Final = 1024
"""Twice what our tests boot a guest without pods in."""
_MOST_JOBS: Final = 256
_KVM_DEVICE: Final = Path("/dev/kvm")


def add_guest_options(parser: argparse._ActionsContainer) -> None:
    """Add --kernel and --kvm."""
    parser.add_argument(
        "--kernel",
        type=kernel,
        default=DEFAULT_KERNEL,
        metavar="K",
        help=f"the guest's: {' or '.join(SUITES)} of Debian's, or the path of your own",
    )
    add_kvm_option(parser)


def add_kvm_option(parser: argparse._ActionsContainer) -> None:
    """Add --kvm."""
    parser.add_argument(
        "--kvm", type=kvm, choices=("auto", "on", "off"), default="auto", help="auto tries it"
    )


def kernel(text: str) -> str:
    """Take a line of Debian's kernels, or one's own kernel where it has what the twin needs."""
    try:
        check_kernel(text)
    except KernelError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from None
    return text


def kvm(text: str) -> str:
    """Refuse `on` where there is no device; whether a guest boots with it is tried with its kernel."""
    if text == "on" and not os.access(_KVM_DEVICE, os.R_OK | os.W_OK):
        found = "this user may not use it" if _KVM_DEVICE.exists() else "it is not there"
        raise argparse.ArgumentTypeError(f"on needs {_KVM_DEVICE}, and {found}; --kvm auto emulates then")
    return text


def memory_mib(text: str) -> int:
    """Take what a guest boots in and this machine has."""
    has_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return _within(text, _LEAST_MEMORY_MIB, has_mib, "MiB, all that this machine has")


def _within(text: str, least: int, most: int, of_what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; expected {least} to {most} {of_what}")
    return number


guests = partial(_within, least=1, most=MOST_GUESTS, of_what="guests")
"""Takes a number of guests side by side."""
seeds_at_a_time = partial(_within, least=1, most=_MOST_JOBS, of_what="seeds at a time")
"""Takes a number of processes, or of guests, that work through seeds."""
