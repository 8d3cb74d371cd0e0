"""Certificates with azure-batch 14.2."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import azure.batch.models as m
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from ledger import equal, until
from older_calls import call, ledger, refused


def certificates() -> None:
    public = make_certificate()
    thumbprint = hashlib.sha1(public, usedforsecurity=False).hexdigest()
    named = ("sha1", thumbprint)
    with ledger.of("certificate.add"):
        body = m.CertificateAddParameter(
            thumbprint=thumbprint,
            thumbprint_algorithm="sha1",
            data=b64encode(public).decode(),
            certificate_format=m.CertificateFormat.cer,
        )
        call("certificate.add", body)
        refused(409, "CertificateExists", "certificate.add", body)
    with ledger.of("certificate.get"):
        found = call("certificate.get", *named)
        equal((found.thumbprint, found.state), (thumbprint, m.CertificateState.active))
        assert found.public_data, found
        equal(call("certificate.get", *named, select="thumbprint").state, None)
    with ledger.of("certificate.list"):
        chosen = {"filter": "state eq 'active'", "select": "thumbprint", "max_results": 5}
        found = call("certificate.list", **chosen)
        assert thumbprint in [one.thumbprint for one in found], found
    with ledger.of("certificate.cancel_deletion"):
        refused(409, "CertificateStateActive", "certificate.cancel_deletion", *named)
    with ledger.of("certificate.delete"):
        call("certificate.delete", *named)
        until(lambda: thumbprint not in [one.thumbprint for one in call("certificate.list")])
        refused(404, "CertificateNotFound", "certificate.get", *named)


def make_certificate() -> bytes:
    """The public part of a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "older")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)
