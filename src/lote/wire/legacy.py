"""Models the newest api-version no longer has, still sent or read by older clients."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    AccessScope,
    CertificateFormat,
    CertificateState,
    CertificateStoreLocation,
    CertificateVisibility,
)
from lote.wire.shared import NameValuePair


class CloudServiceConfiguration(Given, kw_only=True):
    os_family: str
    os_version: str | None = None


class CertificateReference(Given, kw_only=True):
    thumbprint: str
    thumbprint_algorithm: str
    store_location: CertificateStoreLocation | None = None
    store_name: str | None = None
    visibility: list[CertificateVisibility] | None = None


class AuthenticationTokenSettings(Given, kw_only=True):
    access: list[AccessScope] | None = None


class CertificateCreate(Given, kw_only=True):
    """REST: Add Certificate (before 2025-06-01)."""

    thumbprint: str
    thumbprint_algorithm: str
    data: str
    certificate_format: CertificateFormat | None = None
    password: str | None = None


class DeleteCertificateError(Shown, kw_only=True):
    code: str | None = None
    message: str | None = None
    values: list[NameValuePair] | None = None


class Certificate(Shown, kw_only=True):
    thumbprint: str | None = None
    thumbprint_algorithm: str | None = None
    url: str | None = None
    state: CertificateState | None = None
    state_transition_time: str | None = None
    previous_state: CertificateState | None = None
    previous_state_transition_time: str | None = None
    public_data: str | None = None
    delete_certificate_error: DeleteCertificateError | None = None


class PoolUpgradeOs(Given, kw_only=True):
    """REST: Upgrade Pool OS (before 2018-12-01.8.0)."""

    target_osversion: str = field(name="targetOSVersion")
