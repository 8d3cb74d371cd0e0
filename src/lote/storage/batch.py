"""Several small requests in one body, and their answers in another.

Source: REST "Blob Batch"; the parts are HTTP requests within MIME (RFC 2046). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from http import HTTPStatus
from typing import NamedTuple

from lote.storage.errors import Refused, invalid_header

PARTS_MAX = 256  # REST: Blob Batch
BODY_MAX_BYTES = 4 * 1024 * 1024
LINE = "\r\n"


class Part(NamedTuple):
    """One request of a batch; ``target`` as sent, header names in lower case."""

    content_id: str
    method: str
    target: str
    headers: dict[str, str]


class PartAnswer(NamedTuple):
    """The answer of one part; ``content_id`` is None for what answers the batch as a whole."""

    content_id: str | None
    status: int
    headers: Mapping[str, str]
    body: bytes


def boundary_of(content_type: str) -> None:
    """Refuses: InvalidHeaderValue without a boundary, InvalidInput with two."""
    names = [one.partition("=")[0].strip().lower() for one in content_type.split(";")[1:]]
    if names.count("boundary") > 1:
        raise Refused("InvalidInput")
    message = message_from_bytes(_head(content_type), policy=policy.HTTP)
    if not message.get_content_type().startswith("multipart/") or not message.get_boundary():
        raise invalid_header("Content-Type", content_type)


def parse_batch(content_type: str, body: bytes) -> list[Part]:
    """The requests of a batch. Refuses: InvalidHeaderValue, InvalidInput."""
    boundary_of(content_type)
    message = message_from_bytes(_head(content_type) + body, policy=policy.compat32)
    if not message.is_multipart():
        raise Refused("InvalidInput")
    parts = []
    for one in message.get_payload():
        if isinstance(one, str) or one.get_content_type() != "application/http":
            raise Refused("InvalidInput")
        payload = one.get_payload(decode=True)
        content_id = str(one.get("Content-ID", "")).strip()
        parts.append(_parse_part(content_id, payload if isinstance(payload, bytes) else b""))
    if not 1 <= len(parts) <= PARTS_MAX:
        raise Refused("InvalidInput", f"A batch has from 1 to {PARTS_MAX} requests.")
    return parts


def _head(content_type: str) -> bytes:
    # Without white space before a boundary, which clients' own parsers let pass.
    text = "; ".join("=".join(map(str.strip, one.split("=", 1))) for one in content_type.split(";"))
    return f"MIME-Version: 1.0{LINE}Content-Type: {text}{LINE}{LINE}".encode("latin-1")


def _parse_part(content_id: str, payload: bytes) -> Part:
    head = payload.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("latin-1")
    first, *lines = head.split("\n")
    words = first.split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refused("InvalidInput")
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise Refused("InvalidInput")
        headers[name.strip().lower()] = value.strip()
    return Part(content_id, words[0].upper(), words[1], headers)


def batch_body(boundary: str, answers: Sequence[PartAnswer]) -> bytes:
    """The answers of a batch as one body."""
    pieces = []
    for answer in answers:
        lines = [f"--{boundary}", "Content-Type: application/http"]
        if answer.content_id is not None:
            lines.append(f"Content-ID: {answer.content_id}")
        lines += ["", f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = LINE.join([*lines, "", ""])
        pieces.append(head.encode("latin-1", "replace") + answer.body + LINE.encode())
    return b"".join(pieces) + f"--{boundary}--{LINE}".encode()
