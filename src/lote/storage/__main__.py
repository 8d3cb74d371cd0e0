"""``python -m lote.storage``: the storage process of a server.

Reads its settings, one line of JSON, from standard input; writes one line of JSON, its ports, to
standard output when it listens. Ends on SIGTERM, when standard input ends, or with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lote.listener import Bounds
from lote.storage.authentication import Access, AccountKeys
from lote.storage.main import Ports, Tls, serve_storage
from lote.tokens.trust import TrustedIssuer
from lote.tokens.verify import TokenVerifier
from lote.world import World

PR_SET_PDEATHSIG = 1  # prctl(2)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT_FREE_BYTES = 4 * 1024 * 1024
OWN_MAPPING_MIN_BYTES = 2 * 1024 * 1024


def main() -> None:
    """Serve as standard input says."""
    die_with_parent()
    keep_memory()
    logging.basicConfig(level=logging.WARNING, format="storage: %(levelname)s %(message)s")
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    world = World()
    tls_port = settings.get("tls_port")
    tls = None
    if tls_port is not None:
        tls = Tls(tls_port, settings["certificate"], settings["private_key"])
    serve_storage(
        Path(settings["folder"]),
        settings["host"],
        settings["port"],
        {name: AccountKeys(*keys) for name, keys in settings["accounts"].items()},
        world,
        tls=tls,
        bounds=Bounds(**settings["bounds"]) if "bounds" in settings else None,
        access=read_access(settings, world),
        on_ready=announce,
    )


def read_access(settings: Mapping[str, Any], world: World) -> Access:
    """What may be used besides the accounts' keys."""
    issuers = [TrustedIssuer(**one) for one in settings.get("token_issuers", ())]
    return Access(
        verifier=TokenVerifier(issuers, world) if issuers else None,
        authorization_uri=settings.get("authorization_uri", ""),
        suffix=settings.get("host_suffix", ""),
        allow_public=settings.get("allow_blob_public_access", False),
    )


def announce(ports: Ports) -> None:
    """Tell the parent the ports, and stop when it closes our standard input."""
    print(json.dumps(ports._asdict()), flush=True)
    loop = asyncio.get_running_loop()
    threading.Thread(target=wait_for_end, args=(loop,), daemon=True).start()


def wait_for_end(loop: asyncio.AbstractEventLoop) -> None:
    """Stop the server, as SIGTERM does, when standard input ends."""
    # Unbuffered: a thread that holds the buffer's lock breaks the interpreter's shutdown.
    while os.read(sys.stdin.fileno(), 4096):
        continue
    if not loop.is_closed():
        os.kill(os.getpid(), signal.SIGTERM)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies, however that happens."""
    parent = os.getppid()
    # Not SIGTERM: a server that is started again at once needs the folder and the ports now, and
    # what was acknowledged survives.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def keep_memory() -> None:
    """Have the allocator keep what pieces of bodies leave behind.

    Else it gives each piece of 256 KiB back to the kernel, and the next one is faulted in page by
    page: measured, 1.35 s of processor time for a gigabyte of uploads, and 0.8 s with this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library has none, and other habits
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
        mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_MIN_BYTES)


if __name__ == "__main__":
    main()
