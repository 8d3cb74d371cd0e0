"""The development certificate authority of a data folder, and the server's certificate by it.

Made at first start. Clients trust ``ca.pem`` (``REQUESTS_CA_BUNDLE``, ``SSL_CERT_FILE``).
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lote.server.folder import write_private
from lote.world import World

LIFE_DAYS = 820  # current clients accept at most 825 of a server's certificate
RENEW_DAYS = 30


class Certificates(NamedTuple):
    """PEM files: the authority to trust, the server's certificate and its key, and a bundle of
    that authority with all those that this machine trusts (``REQUESTS_CA_BUNDLE`` replaces them).
    """

    authority: Path
    certificate: Path
    private_key: Path
    bundle: Path


def make_certificates(
    folder: Path, host: str, world: World, more: Sequence[str] = ()
) -> Certificates:
    """The folder's certificates; made when they are missing, old, or for other hosts. ``more``:
    further names of this service."""
    home = folder / "tls"
    home.mkdir(mode=0o700, exist_ok=True)
    files = Certificates(
        home / "ca.pem", home / "server.pem", home / "server.key", home / "bundle.pem"
    )
    names_file = home / "names"
    names = sorted({"localhost", "127.0.0.1", "::1", socket.gethostname(), host, *more})
    wanted = "\n".join(names)
    age_us = world.now_us() - int(files.certificate.stat().st_mtime * 1e6) if _all(files) else None
    is_fresh = age_us is not None and age_us < (LIFE_DAYS - RENEW_DAYS) * 86_400_000_000
    if is_fresh and names_file.exists() and names_file.read_text() == wanted:
        return files
    # Imported here: it costs 60 ms, and is needed at first start only.
    from lote.server.authority import make_files

    make_files(files.authority, home / "ca.key", files.certificate, files.private_key, names, world)
    write_private(names_file, wanted.encode())
    system = ssl.get_default_verify_paths().cafile
    trusted = Path(system).read_bytes() if system else b""
    write_private(files.bundle, trusted + b"\n" + files.authority.read_bytes())
    return files


def _all(files: Certificates) -> bool:
    return all(os.path.exists(file) for file in files)
