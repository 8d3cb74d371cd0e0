"""The data folder of a service: its lock, its first account, the ports it had, the ready file.

One server at a time has a folder: an ``flock`` that the kernel releases when the server dies. Keys
live in ``account.json`` (mode 0600) and nowhere else.
"""

from __future__ import annotations

import base64
import fcntl
import os
from pathlib import Path

import msgspec

from lote.settings import Settings
from lote.storage.contents import sync_folder
from lote.storage.database import OtherSchema
from lote.storage.database import check_schema as check_blob_schema
from lote.storage.snapshot import DATABASE_NAME
from lote.store.database import SchemaTooNew, check_schema
from lote.world import World

KEY_BYTES = 64  # as the provider's own keys
UNFINISHED_NAME = ".restore"  # in a folder that is being made from a backup


class FolderRefused(Exception):
    """No server may run on the folder as it is; the text says why and what to do."""


class FolderInUse(FolderRefused):
    """Another server has the folder."""


class AccountFile(msgspec.Struct):
    """The account of this folder, and the built-in storage account linked to it."""

    name: str
    keys: tuple[str, str]
    storage_name: str
    storage_keys: tuple[str, str]


class Ports(msgspec.Struct):
    """Ports of the last run, so that agents and clients find a restarted server."""

    http: int = 0
    tls: int = 0
    storage: int = 0
    storage_tls: int = 0


class DataFolder:
    """A locked data folder. Raises FolderInUse when another server has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise FolderInUse(
                f"Another lote server (pid {holder or 'unknown'}) is using {folder}."
                " Stop it first, or give this one a folder of its own with --data."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def check(self) -> None:
        """Refuses (FolderRefused): a folder that a restore left unfinished, and a database of a
        newer schema, before anything in the folder is touched."""
        if (self.path / UNFINISHED_NAME).exists():
            raise FolderRefused(
                f"A restore of {self.path} was not finished. Run `lote restore` again."
            )
        for check, database in (
            (check_schema, self.database),
            (check_blob_schema, self.path / "blobs" / DATABASE_NAME),
        ):
            try:
                check(database)
            except (SchemaTooNew, OtherSchema) as error:
                raise FolderRefused(f"{database}: {error}") from None

    @property
    def database(self) -> Path:
        """The account's database."""
        return self.path / "account.db"

    @property
    def ready(self) -> Path:
        """The ready file that is always written, for `lote env` and `lote run`."""
        return self.path / "ready.json"

    def account(self, settings: Settings, world: World) -> tuple[AccountFile, bool]:
        """The folder's account; made at first start. Second value: it was made now."""
        path = self.path / "account.json"
        if path.exists():
            account = msgspec.json.decode(path.read_bytes(), type=AccountFile)
            is_new = False
        else:
            name = settings.account or "lote"
            account = AccountFile(
                name=name,
                keys=(_new_key(world), _new_key(world)),
                storage_name=settings.storage_account or f"{name}storage"[:24],
                storage_keys=(_new_key(world), _new_key(world)),
            )
            is_new = True
        changed = _given(account, settings)
        if is_new or changed:
            write_private(path, msgspec.json.format(msgspec.json.encode(account), indent=1))
        return account, is_new

    def ports(self) -> Ports:
        """The remembered ports; zeros at first."""
        path = self.path / "ports.json"
        return msgspec.json.decode(path.read_bytes(), type=Ports) if path.exists() else Ports()

    def remember(self, ports: Ports) -> None:
        """Keep the ports for the next start."""
        write_private(self.path / "ports.json", msgspec.json.encode(ports))

    def close(self) -> None:
        """Let another server have the folder."""
        self.ready.unlink(missing_ok=True)
        os.close(self._lock)


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically and durably, readable by its owner alone."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)
    sync_folder(path.parent)  # else a power cut may bring back the file before it, or none


def _new_key(world: World) -> str:
    return base64.b64encode(world.new_secret(KEY_BYTES)).decode()


def _given(account: AccountFile, settings: Settings) -> bool:
    """Let flags override what the file has; true when that changed something."""
    before = msgspec.json.encode(account)
    account.name = settings.account or account.name
    account.storage_name = settings.storage_account or account.storage_name
    if settings.account_key:
        account.keys = (settings.account_key, account.keys[1])
    if settings.storage_key:
        account.storage_keys = (settings.storage_key, account.storage_keys[1])
    return msgspec.json.encode(account) != before
