"""What this machine is, for Hello."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple


class Machine(NamedTuple):
    """Facts of the node's machine; memory in bytes."""

    cores: int
    memory_bytes: int
    ip_address: str
    operating_system: str


def usable_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def describe_machine() -> Machine:
    """Look at the machine."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(usable_cores(), memory_bytes, _ip_address(), _operating_system())


def _ip_address() -> str:
    """The address other nodes would reach this one at; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: an address nobody has
        except OSError:  # no route: a machine by itself
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _operating_system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as source:
            fields = dict(line.rstrip().split("=", 1) for line in source if "=" in line)
    except FileNotFoundError:
        fields = {}
    name = fields.get("PRETTY_NAME", "Linux").strip('"')
    return f"{name} ({os.uname().release})"
