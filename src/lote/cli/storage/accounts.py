"""Which account a command means, and what is needed to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lote.blobs.reach import Reach, reach_of_connection_string
from lote.blobs.remote import RemoteAccount
from lote.cli.ready import NoService, find_service, read_ready
from lote.cli.storage.names import Remote
from lote.settings import settings_from

VARIABLE = "AZURE_STORAGE_CONNECTION_STRING"


class NoAccount(Exception):
    """No account to work on; the text says how to name one."""


class Accounts:
    """The accounts of one command: the one that ``az://`` means, and those that URLs name.

    ``az://`` means the account of ``--connection-string``, else that of the service on ``--data``,
    else ``AZURE_STORAGE_CONNECTION_STRING``, else that of the service on this machine.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path | None, connection_string: str | None
    ) -> None:
        self._environment = environment
        self._folder = folder
        self._connection_string = connection_string
        self._usual: tuple[RemoteAccount, str] | None = None
        self._opened: dict[Reach, RemoteAccount] = {}

    def of(self, place: Remote) -> RemoteAccount:
        """The account of a name. Refuses: ``NoAccount``."""
        if place.reach is None:
            return self.usual()
        if not place.reach.sas and self._is_usual(place.reach):
            return self.usual()
        if place.reach not in self._opened:
            self._opened[place.reach] = RemoteAccount(place.reach, ca_file=self._trusted())
        return self._opened[place.reach]

    def usual(self) -> RemoteAccount:
        """The account that ``az://`` means. Refuses: ``NoAccount``."""
        return self._find()[0]

    def tls_endpoint(self) -> str:
        """Where the usual account answers over HTTPS; empty when that is not known."""
        account, tls = self._find()
        if account.reach.endpoint.startswith("https:"):
            return account.reach.endpoint
        return tls or self._tls_of_service(account.reach.endpoint)

    def _tls_of_service(self, endpoint: str) -> str:
        """The HTTPS address beside one that came without: of the service here, if it is its."""
        try:
            storage = read_ready(settings_from(self._environment).folder).storage
        except NoService:
            return ""
        is_its = storage is not None and storage.blob_endpoint == endpoint
        return (storage.tls_blob_endpoint or "") if storage and is_its else ""

    def close(self) -> None:
        """Close all connections."""
        for account in self._opened.values():
            account.close()
        if self._usual is not None:
            self._usual[0].close()

    def _is_usual(self, reach: Reach) -> bool:
        """Whether a URL without a signature leads to the account whose key we have."""
        try:
            account, tls = self._find()
        except NoAccount:
            return False
        return reach.endpoint in (account.reach.endpoint, tls)

    def _trusted(self) -> str | None:
        try:
            return self._find()[0].ca_file
        except NoAccount:
            return None

    def _find(self) -> tuple[RemoteAccount, str]:
        if self._usual is None:
            self._usual = self._look()
        return self._usual

    def _look(self) -> tuple[RemoteAccount, str]:
        text, ca_file, tls, origin = self._connection_string, None, "", "--connection-string"
        if text is not None and self._folder is not None:
            raise NoAccount("--data and --connection-string name two accounts; give one of them")
        if text is None and self._folder is None:
            text, origin = self._environment.get(VARIABLE) or None, VARIABLE
        if text is None:
            origin = "the ready file"
            try:
                ready = (
                    read_ready(self._folder)
                    if self._folder
                    else find_service(self._environment, None)
                )
            except NoService as error:
                raise NoAccount(f"{error}; or give --connection-string") from None
            if ready.storage is None:
                raise NoAccount("this service has no storage account linked")
            text, tls = ready.storage.connection_string, ready.storage.tls_blob_endpoint or ""
            ca_file = ready.ca_bundle or ready.ca
        try:
            return RemoteAccount(reach_of_connection_string(text), ca_file=ca_file), tls
        except ValueError as error:
            raise NoAccount(f"{origin}: {error}") from None
