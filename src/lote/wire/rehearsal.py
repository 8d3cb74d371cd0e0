"""Rehearsals: failures of the service that are asked for. Not of the protocol; Lote's own.

A request says what is to fail, for how many seconds (``forS``) or how many times at most
(``times``), and of which pool or node.
"""

from __future__ import annotations

import re

from lote.wire.base import Given
from lote.wire.enums import Int32
from lote.wire.errors import invalid_property, missing_property, unsupported_property
from lote.wire.formats import check_id
from lote.wire.rules import check_range

FOR_S_MAX = 86_400.0  # a day: nobody wants to find one that was forgotten
TIMES_MAX = 1_000_000
NODES_MAX = 1000
RETRY_AFTER_S_MAX = 3600

QUOTAS = ("pools", "jobs", "cores", "low-priority-cores")
RESIZE_ERRORS = ("AllocationTimedout", "AllocationFailed")
THROTTLE_STATUSES = (429, 503)
NO_ERROR = "none"
_ERROR_CODE = re.compile("[A-Za-z]{1,64}")

NODE_S_DEFAULT = 60.0
LOST_S_DEFAULT = 30.0  # half the usual grace of a node: it comes back with what it ran
REQUEST_S_DEFAULT = 600.0


class RehearsalCreate(Given, kw_only=True):
    """What is to fail. Which members go with which kind: see ``MEMBERS``."""

    kind: str
    pool_id: str | None = None
    node_id: str | None = None
    nodes: Int32 | None = None
    """How many nodes, if none is named."""
    for_s: float | None = None
    times: Int32 | None = None
    exit_code: Int32 | None = None
    error_code: str | None = None
    quota: str | None = None
    status: Int32 | None = None
    retry_after_s: Int32 | None = None
    after_s: float | None = None
    """How long a resize seems to go on before it fails."""


# By kind: members it may have besides ``kind`` and ``forS``, and how long it lasts by itself.
MEMBERS: dict[str, tuple[frozenset[str], float]] = {
    "preempt": (frozenset({"pool_id", "node_id", "nodes"}), NODE_S_DEFAULT),
    "unusable": (frozenset({"pool_id", "node_id", "nodes", "error_code"}), NODE_S_DEFAULT),
    "lost": (frozenset({"pool_id", "node_id", "nodes"}), LOST_S_DEFAULT),
    "start-task": (frozenset({"pool_id", "times", "exit_code"}), REQUEST_S_DEFAULT),
    "quota": (frozenset({"quota", "times"}), REQUEST_S_DEFAULT),
    "throttle": (frozenset({"status", "retry_after_s", "times"}), NODE_S_DEFAULT),
    "resize": (frozenset({"pool_id", "error_code", "after_s", "times"}), REQUEST_S_DEFAULT),
}
OF_NODES = frozenset({"preempt", "unusable", "lost"})
_WIRE_NAMES = dict(
    zip(
        RehearsalCreate.__struct_fields__,
        RehearsalCreate.__struct_encode_fields__,
        strict=True,
    )
)


def check_rehearsal(body: RehearsalCreate) -> None:
    """Refuses: InvalidPropertyValue, MissingRequiredProperty, and UnsupportedProperty for a member
    that the kind has no use for."""
    if body.kind not in MEMBERS:
        raise invalid_property(
            "kind", body.kind, f"One of these is expected: {', '.join(MEMBERS)}."
        )
    allowed, _ = MEMBERS[body.kind]
    for name, shown in _WIRE_NAMES.items():
        is_given = getattr(body, name) is not None
        if is_given and name not in allowed and name not in ("kind", "for_s"):
            raise unsupported_property(shown, reason=f"{body.kind} has no use for it.")
    _check_seconds("forS", body.for_s, FOR_S_MAX)
    _check_seconds("afterS", body.after_s, FOR_S_MAX, least_s=0.0)
    check_range("times", body.times, 1, TIMES_MAX)
    check_range("nodes", body.nodes, 1, NODES_MAX)
    check_range("exitCode", body.exit_code, 1, 255)
    check_range("retryAfterS", body.retry_after_s, 0, RETRY_AFTER_S_MAX)
    if body.pool_id is not None:
        check_id("poolId", body.pool_id)
    if body.kind in OF_NODES:
        _check_nodes(body)
    if body.kind == "quota":
        _check_choice("quota", body.quota, QUOTAS)
    if body.kind == "resize" and body.error_code is not None:
        _check_choice("errorCode", body.error_code, RESIZE_ERRORS)
    if body.status is not None and body.status not in THROTTLE_STATUSES:
        raise invalid_property("status", body.status, "429 or 503 is expected.")
    if body.error_code is not None and not _ERROR_CODE.fullmatch(body.error_code):
        raise invalid_property("errorCode", body.error_code, "A code is up to 64 letters.")


def duration_s(body: RehearsalCreate) -> float:
    """How long it lasts at most, in seconds."""
    return MEMBERS[body.kind][1] if body.for_s is None else body.for_s


def _check_nodes(body: RehearsalCreate) -> None:
    if body.pool_id is None:
        raise missing_property("poolId")
    if body.node_id is not None and body.nodes is not None:
        raise invalid_property("nodes", body.nodes, "Either a node is named or a number given.")


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is None:
        raise missing_property(name)
    if value not in choices:
        raise invalid_property(name, value, f"One of these is expected: {', '.join(choices)}.")


def _check_seconds(name: str, value: float | None, most_s: float, least_s: float = 0.001) -> None:
    if value is not None and not least_s <= value <= most_s:  # NaN is neither
        raise invalid_property(name, value, f"Seconds, {most_s:g} at most.")
