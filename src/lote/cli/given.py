"""Checks of what a person gave to `lote serve`, before anything starts; secrets stay unsaid."""

from __future__ import annotations

import base64
import binascii

from lote.blobs.accounts import StorageAccount
from lote.settings import Settings
from lote.tokens.trust import parse_issuers


class BadSetting(Exception):
    """A flag or variable that can't be right; the text names it."""


def check_settings(settings: Settings) -> None:
    """Refuses (``BadSetting``): keys that are not base64, a connection string without a key, an
    issuer of tokens without its keys."""
    for flag, key in (
        ("--account-key", settings.account_key),
        ("--storage-key", settings.storage_key),
    ):
        if key is None:
            continue
        try:
            base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise BadSetting(f"{flag} is not base64") from None
    try:
        parse_issuers(settings.token_issuers)
    except ValueError as error:
        raise BadSetting(f"--token-issuer: {error}") from None
    if settings.storage_connection_string is not None:
        try:
            StorageAccount.from_connection_string(settings.storage_connection_string)
        except ValueError as error:
            raise BadSetting(f"--storage-connection-string: {error}") from None
