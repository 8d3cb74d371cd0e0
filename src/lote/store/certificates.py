"""Rows of certificates, which api-versions before 2025-06-01 have."""

from __future__ import annotations

from lote.store.database import Connection
from lote.store.records import CertificateRecord, columns

_COLUMNS = columns(CertificateRecord)
_ONE = f"SELECT {_COLUMNS} FROM certificate WHERE algorithm = ? AND thumbprint = ?"
_ALL = f"SELECT {_COLUMNS} FROM certificate"


def get_certificate(db: Connection, algorithm: str, thumbprint: str) -> CertificateRecord | None:
    """The certificate of that thumbprint, in any case."""
    row = db.execute(_ONE, (algorithm.lower(), thumbprint.lower())).fetchone()
    return CertificateRecord(*row) if row else None


def list_certificates(db: Connection) -> list[CertificateRecord]:
    """All certificates; an account has few."""
    return sorted((CertificateRecord(*row) for row in db.execute(_ALL)), key=lambda one: one.id)


def add_certificate(db: Connection, record: CertificateRecord) -> None:
    """Insert the certificate (its ``key`` is not looked at)."""
    fields = CertificateRecord.__struct_fields__[1:]
    db.execute(
        f"INSERT INTO certificate ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",
        [getattr(record, name) for name in fields],
    )


def save_certificate(db: Connection, record: CertificateRecord) -> None:
    """Write the certificate's state."""
    db.execute(
        "UPDATE certificate SET state = ?, state_us = ?, previous_state = ?, previous_us = ?,"
        " delete_error = ? WHERE key = ?",
        (record.state, record.state_us, record.previous_state, record.previous_us,
         record.delete_error, record.key),
    )  # fmt: skip


def delete_certificate(db: Connection, key: int) -> None:
    """Drop the certificate."""
    db.execute("DELETE FROM certificate WHERE key = ?", (key,))
