"""Where to work: the account that the environment names."""

from __future__ import annotations

import os
from typing import NamedTuple

VARIABLES = (
    "AZURE_BATCH_ACCOUNT",
    "AZURE_BATCH_ACCESS_KEY",
    "AZURE_BATCH_ENDPOINT",
    "AZURE_STORAGE_CONNECTION_STRING",
)


class Account(NamedTuple):
    """A Batch account and its storage, as ``lote env`` prints them."""

    name: str
    key: str
    endpoint: str
    storage_connection_string: str


def account_of_environment() -> Account | None:
    """The account of the variables, if all are there."""
    values = [os.environ.get(name, "") for name in VARIABLES]
    return Account(*values) if all(values) else None
