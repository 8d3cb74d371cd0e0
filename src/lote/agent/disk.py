"""A full disk: it is reported to the server, fails what needs space, and must not end the agent."""

from __future__ import annotations

import errno
import os

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})  # by file system


def is_disk_full(error: OSError) -> bool:
    """Whether this is an error that goes away when files are removed."""
    return error.errno in FULL


def open_nameless(folder: str) -> int:
    """A new file without a name, to be read and written; gone when it is closed."""
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in NO_TMPFILE:
            raise
    import tempfile  # rarely: an agent should stay small

    descriptor, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)
    return descriptor
