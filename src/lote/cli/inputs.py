"""Local files for a task: into a container of the linked storage account, and away again."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from lote.blobs.accounts import StorageAccount
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError
from lote.blobs.sas import account_sas
from lote.blobs.urls import blob_url
from lote.cli.client import Json
from lote.world import World

SIGNED_FOR_US = 24 * 3600 * 1_000_000  # a task may wait that long for a slot
FILE_MODE = "0755"  # programs and scripts are the usual case
TIMEOUT_S = 30.0


class InputError(Exception):
    """A file can't be offered to the task; the text says why."""


class Inputs:
    """Offers files of this machine through one storage account, by signed URLs alone."""

    def __init__(self, connection_string: str, world: World, ca_file: str | None = None) -> None:
        try:
            self._account = StorageAccount.from_connection_string(connection_string)
        except ValueError as error:
            raise InputError(f"AZURE_STORAGE_CONNECTION_STRING: {error}") from None
        self._world = world
        self._ca_file = ca_file

    def upload(self, container: str, files: tuple[Path, ...]) -> list[Json]:
        """The task's ``resourceFiles``, each under its own name beside the command.

        Refuses: ``InputError`` for a file that is not there, names that meet, a storage account
        that says no.
        """
        names = [path.name for path in files]
        for path in files:
            if not path.is_file():
                raise InputError(f"--resource: {path} is not a file")
            if names.count(path.name) > 1:
                raise InputError(f"--resource: two files are named {path.name}")
        self._change("PUT", container, 201)
        expires_us = self._world.now_us() + SIGNED_FOR_US
        writable = self._account.sas_url(container, "cw", expires_us)
        client = BlobClient(ca_file=self._ca_file)
        try:
            for path in files:
                client.upload(path, blob_url(writable, path.name))
        except (BlobError, OSError) as error:
            self.remove(container)
            raise InputError(f"--resource: {error}") from None
        finally:
            client.close()
        return [
            {
                "httpUrl": self._account.blob_sas_url(container, path.name, "r", expires_us),
                "filePath": path.name,
                "fileMode": FILE_MODE,
            }
            for path in files
        ]

    def remove(self, container: str) -> None:
        """Delete the container and all that was uploaded."""
        self._change("DELETE", container, 202)

    def _change(self, method: str, container: str, wanted: int) -> None:
        """Make or delete a container, by a signature that lasts as long as the request."""
        account = self._account
        expires_us = self._world.now_us() + int(2 * TIMEOUT_S * 1_000_000)
        sas = account_sas(account.name, account.key, "wdlc", expires_us)
        url = urlsplit(f"{account.container_url(container)}?restype=container&{sas}")
        connection = self._connect(url.hostname or "", url.port, url.scheme)
        try:
            connection.request(
                method, f"{url.path}?{url.query}", headers={"x-ms-version": "2021-12-02"}
            )
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{account.blob_endpoint} does not answer: {error}") from None
        finally:
            connection.close()
        if status != wanted:
            raise InputError(f"{account.blob_endpoint} answered {status} to container {container}")

    def _connect(self, host: str, port: int | None, scheme: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
