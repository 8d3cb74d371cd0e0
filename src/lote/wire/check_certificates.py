"""Rules on certificates, which api-versions before 2025-06-01 have."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from lote.wire.errors import invalid_property
from lote.wire.legacy import CertificateCreate, CertificateReference

_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}", re.ASCII)  # REST: the SHA-1 digest, in hex
ALGORITHM = "sha1"  # REST: the only thumbprint algorithm
REFERENCES_MAX = 12  # documented: certificates of a pool


def check_certificate(certificate: CertificateCreate) -> None:
    """Source: REST, Add Certificate. Whether the thumbprint is that of the data is not looked at.

    Refuses: InvalidPropertyValue.
    """
    check_thumbprint("", certificate.thumbprint_algorithm, certificate.thumbprint)
    try:
        content = base64.b64decode("".join(certificate.data.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise invalid_property("data", None, "Bytes in base64 are expected.")
    if certificate.certificate_format == "cer" and certificate.password is not None:
        reason = "A cer certificate has no private key and so no password."
        raise invalid_property("password", None, reason)


def check_thumbprint(prefix: str, algorithm: str, thumbprint: str) -> None:
    """Refuse an algorithm other than sha1 and what is no digest of it."""
    if algorithm.lower() != ALGORITHM:
        reason = f"The algorithm must be {ALGORITHM}."
        raise invalid_property(prefix + "thumbprintAlgorithm", algorithm, reason)
    if not _THUMBPRINT.fullmatch(thumbprint):
        reason = "A thumbprint has 40 hexadecimal digits."
        raise invalid_property(prefix + "thumbprint", thumbprint, reason)


def check_certificate_references(name: str, references: Sequence[CertificateReference]) -> None:
    """Check the form of references; whether there are such certificates needs stored state."""
    if len(references) > REFERENCES_MAX:
        raise invalid_property(name, len(references), f"At most {REFERENCES_MAX} are allowed.")
    seen = set()
    for index, reference in enumerate(references):
        prefix = f"{name}[{index}]."
        check_thumbprint(prefix, reference.thumbprint_algorithm, reference.thumbprint)
        if reference.thumbprint.lower() in seen:
            reason = "The certificate is referred to twice."
            raise invalid_property(prefix + "thumbprint", reference.thumbprint, reason)
        seen.add(reference.thumbprint.lower())
