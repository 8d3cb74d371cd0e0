"""What a running service wrote down about itself, and how commands find one to talk to."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from lote.cli.client import Account
from lote.settings import settings_from

READY_NAME = "ready.json"  # the server keeps one in its data folder, mode 0600
ANSWER_WITHIN_S = 2.0


class BatchPart(msgspec.Struct, frozen=True):
    """The Batch account of a ready file."""

    endpoint: str
    account: str
    key: str
    tls_endpoint: str | None = None
    key2: str | None = None


class StoragePart(msgspec.Struct, frozen=True):
    """The linked storage account of a ready file."""

    connection_string: str
    account: str | None = None
    key: str | None = None
    key2: str | None = None
    blob_endpoint: str | None = None
    tls_blob_endpoint: str | None = None


class Ready(msgspec.Struct, frozen=True):
    """A ready file. Parts that this service does not have are left out of it."""

    batch: BatchPart
    storage: StoragePart | None = None
    pid: int | None = None
    ca: str | None = None
    ca_bundle: str | None = None
    explorer: str | None = None


class NoService(Exception):
    """There is no running service to talk to; the text says where was looked."""


def read_ready(folder: Path) -> Ready:
    """The service that runs on this data folder.

    Refuses: ``NoService`` when none does, when its file is not ours to read, or is damaged.
    """
    path = folder / READY_NAME
    hint = f"start one with: lote serve --data {folder}"
    try:
        ready = msgspec.json.decode(path.read_bytes(), type=Ready)
    except FileNotFoundError:
        raise NoService(f"no service runs on {folder}; {hint}") from None
    except PermissionError:
        raise NoService(f"{path} belongs to another user; only that user may read it") from None
    except msgspec.DecodeError as error:
        raise NoService(f"{path} is not a ready file: {error}") from error
    if not answers(ready.batch.endpoint):
        raise NoService(f"the service on {folder} no longer runs; {hint}")
    return ready


def answers(endpoint: str) -> bool:
    """Whether something accepts connections at this URL."""
    url = urlsplit(endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), timeout=ANSWER_WITHIN_S).close()
    except OSError:
        return False
    return True


def find_service(environment: Mapping[str, str], folder: Path | None) -> Ready:
    """The service a command means.

    A folder given by hand wins, then the ``AZURE_BATCH_*`` variables, then the usual folder
    (``LOTE_DATA`` or the default). Refuses: ``NoService``.
    """
    if folder is None and environment.get("AZURE_BATCH_ENDPOINT"):
        return from_environment(environment)
    return read_ready(folder or settings_from(environment).folder)


def from_environment(environment: Mapping[str, str]) -> Ready:
    """The account that ``AZURE_BATCH_*`` variables name, wherever it is."""
    names = ("AZURE_BATCH_ACCOUNT", "AZURE_BATCH_ACCESS_KEY", "AZURE_BATCH_ENDPOINT")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise NoService(f"AZURE_BATCH_ENDPOINT is set but not {' and '.join(missing)}")
    account, key, endpoint = (environment[name] for name in names)
    connection_string = environment.get("AZURE_STORAGE_CONNECTION_STRING")
    return Ready(
        batch=BatchPart(endpoint if "://" in endpoint else f"https://{endpoint}", account, key),
        storage=StoragePart(connection_string) if connection_string else None,
        ca=environment.get("REQUESTS_CA_BUNDLE"),
    )


def account_of(ready: Ready) -> Account:
    """The Batch account for the client of this package."""
    return Account(ready.batch.account, ready.batch.key, ready.batch.endpoint, ready.ca)


def exports(ready: Ready) -> dict[str, str]:
    """The environment variables that official tools read, for this service."""
    values = {
        "AZURE_BATCH_ACCOUNT": ready.batch.account,
        "AZURE_BATCH_ACCESS_KEY": ready.batch.key,
        "AZURE_BATCH_ENDPOINT": ready.batch.endpoint,
    }
    if ready.storage is not None:
        values["AZURE_STORAGE_CONNECTION_STRING"] = ready.storage.connection_string
        if ready.storage.account and ready.storage.key:
            values["AZURE_STORAGE_ACCOUNT"] = ready.storage.account
            values["AZURE_STORAGE_KEY"] = ready.storage.key
    trusted = ready.ca_bundle or ready.ca
    if trusted:
        # The variable replaces the system's authorities, so the bundle has them too.
        values["REQUESTS_CA_BUNDLE"] = trusted
    return values
