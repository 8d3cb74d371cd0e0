"""Certificates, which api-versions before 2025-06-01 have.

They are checked, recorded and shown. No node installs them, and their private keys are not kept.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from lote.server.owner import Tx
from lote.server.pages import answer_list, answer_one, chosen, filter_of, paged
from lote.server.request import Answer, Request
from lote.store import certificates as rows
from lote.store.database import Connection
from lote.store.pools import list_all_pools
from lote.store.records import CertificateRecord
from lote.wire.check_certificates import ALGORITHM, check_certificate
from lote.wire.errors import Refused, invalid_property
from lote.wire.formats import format_timestamp
from lote.wire.legacy import Certificate, CertificateCreate
from lote.wire.odata import Value, evaluate


def add_certificate(tx: Tx, request: Request) -> Answer:
    """Record a certificate. Refuses: CertificateExists, InvalidPropertyValue for data that is none
    or that has another thumbprint."""
    body: CertificateCreate = request.body
    check_certificate(body)
    public = _public_part(body)
    if hashlib.sha1(public, usedforsecurity=False).hexdigest() != body.thumbprint.lower():
        raise invalid_property(
            "thumbprint", body.thumbprint, "The data are those of another certificate."
        )
    if rows.get_certificate(tx.db, body.thumbprint_algorithm, body.thumbprint) is not None:
        raise Refused("CertificateExists")
    record = CertificateRecord(
        key=0,
        algorithm=ALGORITHM,
        thumbprint=body.thumbprint.lower(),
        state="active",
        state_us=tx.now_us,
        previous_state=None,
        previous_us=None,
        public_data=b64encode(public).decode(),
        delete_error=None,
    )
    rows.add_certificate(tx.db, record)
    return Answer(modified_us=tx.now_us, location=_path_of(record))


def _public_part(body: CertificateCreate) -> bytes:
    """The certificate alone, as DER."""
    try:
        data = b64decode(body.data, validate=True)
    except ValueError:
        raise invalid_property("data", "", "The data are not base64.") from None
    password = body.password.encode() if body.password is not None else None
    try:
        if (body.certificate_format or "pfx") == "cer":
            is_pem = data.lstrip().startswith(b"-----")
            load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
            found: x509.Certificate | None = load(data)
        else:
            found = pkcs12.load_key_and_certificates(data, password)[1]
    except ValueError:
        found = None
    if found is None:
        text = "No certificate of this format can be read from the data with this password."
        raise invalid_property("data", "", text)
    return found.public_bytes(Encoding.DER)


def list_certificates(db: Connection, request: Request) -> Answer:
    """One page of certificates."""
    where = filter_of(request)
    records = rows.list_certificates(db)
    if where is not None:
        records = [one for one in records if evaluate(where, _filtered(one).get)]
    page, next_id = paged(request, records)
    shown = [chosen(request, Certificate, _view(one, request.base_url)) for one in page]
    return answer_list(request, shown, next_id)


def get_certificate(db: Connection, request: Request) -> Answer:
    """One certificate. Refuses: CertificateNotFound."""
    return answer_one(request, _view(_existing(db, request), request.base_url), Certificate, None)


def delete_certificate(tx: Tx, request: Request) -> Answer:
    """Delete a certificate; one that a pool names fails to be deleted, and says why."""
    record = _existing(tx.db, request)
    pools = [pool.id for pool in list_all_pools(tx.db) if _names(pool.spec, record)]
    if not pools:
        rows.delete_certificate(tx.db, record.key)
        return Answer()
    error = {
        "code": "CertificatesInUse",
        "message": "The specified certificate is in use by pools.",
        "values": [{"name": "Pools", "value": ",".join(sorted(pools))}],
    }
    _move(tx, record, "deletefailed", msgspec.json.encode(error).decode())
    return Answer()


def cancel_certificate_deletion(tx: Tx, request: Request) -> Answer:
    """Make a certificate active again whose deletion failed. Refuses: CertificateStateActive."""
    record = _existing(tx.db, request)
    if record.state == "active":
        raise Refused("CertificateStateActive")
    _move(tx, record, "active", None)
    return Answer()


def check_certificates(db: Connection, references: list[Any]) -> None:
    """Refuses: InvalidCertificateReferences for one that is not there."""
    for one in references:
        if rows.get_certificate(db, one.thumbprint_algorithm, one.thumbprint) is None:
            name = f"{one.thumbprint_algorithm}-{one.thumbprint}"
            raise Refused("InvalidCertificateReferences", values=[("CertificateReference", name)])


def _filtered(record: CertificateRecord) -> dict[str, Value | None]:
    return {"state": record.state, "stateTransitionTime": record.state_us}


def _move(tx: Tx, record: CertificateRecord, state: str, error: str | None) -> None:
    record.previous_state, record.previous_us = record.state, record.state_us
    record.state, record.state_us, record.delete_error = state, tx.now_us, error
    rows.save_certificate(tx.db, record)


def _names(spec: bytes, record: CertificateRecord) -> bool:
    references = msgspec.json.decode(spec).get("certificateReferences") or []
    return any(one["thumbprint"].lower() == record.thumbprint for one in references)


def _existing(db: Connection, request: Request) -> CertificateRecord:
    params = request.params
    found = rows.get_certificate(db, params["thumbprint_algorithm"], params["thumbprint"])
    if found is None:
        raise Refused("CertificateNotFound")
    return found


def _path_of(record: CertificateRecord) -> str:
    words = f"thumbprintAlgorithm={record.algorithm},thumbprint={record.thumbprint}"
    return f"/certificates({words})"


def _view(record: CertificateRecord, base_url: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "thumbprint": record.thumbprint,
        "thumbprintAlgorithm": record.algorithm,
        "url": base_url + _path_of(record),
        "state": record.state,
        "stateTransitionTime": format_timestamp(record.state_us),
        "publicData": record.public_data,
    }
    if record.previous_state is not None and record.previous_us is not None:
        shown["previousState"] = record.previous_state
        shown["previousStateTransitionTime"] = format_timestamp(record.previous_us)
    if record.delete_error is not None:
        shown["deleteCertificateError"] = msgspec.json.decode(record.delete_error)
    return shown
