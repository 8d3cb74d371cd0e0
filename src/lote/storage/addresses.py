"""Which account a request means: by the first part of its path, or by its host name.

``http://host/account/container/blob`` and ``https://account.blob.suffix/container/blob`` name the
same blob. With ``-secondary`` behind the account's name, in either, the request goes to the copy
in the second region; here that is the same data, for reading alone.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple
from urllib.parse import unquote

SECONDARY = "-secondary"


class Address(NamedTuple):
    """An account as a request named it. ``root`` is the part of the path that names it ("" when
    the host does), ``rest`` the raw path behind that, without a slash in front."""

    account: str
    is_secondary: bool
    root: str
    rest: str


class Addresses:
    """The names of the accounts that are served, and a host suffix of theirs besides ``blob.…``."""

    def __init__(self, accounts: Container[str], suffix: str = "") -> None:
        self._accounts = accounts
        self._suffix = suffix.strip(".").lower()

    def parse(self, host: str, raw_path: str) -> Address:
        """Whom a request means; the account need not exist."""
        by_host = self._by_host(host)
        if by_host is not None:
            return Address(*by_host, "", raw_path.lstrip("/"))
        first, _, rest = raw_path.lstrip("/").partition("/")
        return Address(*self._named(unquote(first)), f"/{first}", rest)

    def _by_host(self, host: str) -> tuple[str, bool] | None:
        name = host.lower().partition(":")[0]  # an IPv6 address names no account either way
        label, _, suffix = name.partition(".")
        if not suffix.startswith("blob.") and suffix not in ("localhost", self._suffix or "."):
            return None
        account, is_secondary = self._named(label)
        return (account, is_secondary) if account in self._accounts else None

    def _named(self, label: str) -> tuple[str, bool]:
        if label not in self._accounts and label.endswith(SECONDARY):
            return label.removesuffix(SECONDARY), True
        return label, False
