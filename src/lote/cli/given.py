"""Checks of what a person gave to `lote serve`, before anything starts; secrets stay unsaid."""

from __future__ import annotations

import base64
import binascii

from lote.blobs.accounts import StorageAccount
from lote.settings import ENVIRONMENT, Settings
from lote.tokens.trust import parse_issuers


class BadSetting(Exception):
    """A flag or variable that can't be right; the text names it."""


def check_settings(settings: Settings) -> None:
    """Refuses (``BadSetting``): keys that are not base64, a connection string without a key, an
    issuer of tokens without its keys, quotas below 0, intervals below a second."""
    check_limits(settings)
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


def check_limits(settings: Settings) -> None:
    """Refuses (``BadSetting``): quotas below 0, intervals of autoscale below a second."""
    least = {
        "pool_quota": 0,
        "active_job_and_schedule_quota": 0,
        "dedicated_core_quota": 0,
        "low_priority_core_quota": 0,
        "scale_interval_min_s": 1,
        "scale_history_s": 60,
    }
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and value < lowest:
            raise BadSetting(f"{ENVIRONMENT[name]} must be {lowest} or more")
