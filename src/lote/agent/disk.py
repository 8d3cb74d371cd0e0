"""A full disk: it is reported to the server, fails what needs space, and must not end the agent."""

from __future__ import annotations

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_disk_full(error: OSError) -> bool:
    """Whether this is an error that goes away when files are removed."""
    return error.errno in FULL
