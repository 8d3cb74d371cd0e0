"""Leases: what may be done with one in which state, and what one keeps others from doing.

A lease is kept as it was taken or broken; its state follows from the time. Times are microseconds
since 1970. Sources: REST "Lease Blob" and "Lease Container", outcomes by lease state.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

from lote.storage.errors import Refused

INFINITE_S = -1
DURATION_MIN_S = 15  # REST: Lease Blob, x-ms-lease-duration
DURATION_MAX_S = 60
BREAK_MAX_S = 60  # REST: Lease Blob, x-ms-lease-break-period
SECOND_US = 1_000_000
PUNCTUATION = re.compile(r"[-{}()]")

State = Literal["available", "leased", "expired", "breaking", "broken"]
Resource = Literal["Blob", "Container"]


class Lease(NamedTuple):
    """A lease that was taken and not released.

    ``duration_s`` is -1 for one without an end. ``until_us`` is when it ends by itself, or when
    the break that was asked for takes effect; 0: never. ``is_broken``: a break was asked for.
    """

    id: str
    duration_s: int
    until_us: int
    is_broken: bool

    def names(self, lease_id: str) -> bool:
        """Whether this is the lease of that id, in any of the forms that GUIDs have."""
        return PUNCTUATION.sub("", self.id).lower() == PUNCTUATION.sub("", lease_id).lower()


def state_of(lease: Lease | None, now_us: int) -> State:
    """What a lease is at a time."""
    if lease is None:
        return "available"
    ended = lease.until_us <= now_us
    if lease.is_broken:
        return "broken" if ended else "breaking"
    return "expired" if lease.duration_s != INFINITE_S and ended else "leased"


def is_locked(lease: Lease | None, now_us: int) -> bool:
    """Whether a lease keeps others from writing."""
    return state_of(lease, now_us) in ("leased", "breaking")


def acquire(old: Lease | None, now_us: int, duration_s: int, lease_id: str) -> Lease:
    """A new lease; its holder may take it again, with another duration.

    Refuses: LeaseIsBreakingAndCannotBeAcquired, LeaseAlreadyPresent.
    """
    if old is not None and is_locked(old, now_us):
        if not old.names(lease_id):
            raise Refused("LeaseAlreadyPresent")
        if old.is_broken:
            raise Refused("LeaseIsBreakingAndCannotBeAcquired")
    return Lease(lease_id, duration_s, _end_us(duration_s, now_us), False)


def renew(old: Lease | None, now_us: int, lease_id: str) -> Lease:
    """The lease from now on once more; also one that has expired, if nothing was written since.

    Refuses: LeaseIdMismatchWithLeaseOperation, LeaseIsBrokenAndCannotBeRenewed.
    """
    held = _held(old, lease_id)
    if held.is_broken:
        raise Refused("LeaseIsBrokenAndCannotBeRenewed")
    return held._replace(until_us=_end_us(held.duration_s, now_us))


def change(old: Lease | None, now_us: int, lease_id: str, new_id: str) -> Lease:
    """The lease under another id. To repeat it is no mistake.

    Refuses: LeaseNotPresentWithLeaseOperation, LeaseIdMismatchWithLeaseOperation,
    LeaseIsBreakingAndCannotBeChanged.
    """
    if old is None or not is_locked(old, now_us):
        raise Refused("LeaseNotPresentWithLeaseOperation")
    if not old.names(lease_id) and not old.names(new_id):
        raise Refused("LeaseIdMismatchWithLeaseOperation")
    if old.is_broken:
        raise Refused("LeaseIsBreakingAndCannotBeChanged")
    return old._replace(id=new_id)


def release(old: Lease | None, lease_id: str) -> None:
    """Give a lease back, whatever its state. Refuses: LeaseIdMismatchWithLeaseOperation."""
    _held(old, lease_id)


def break_off(old: Lease | None, now_us: int, period_s: int | None) -> tuple[Lease, int]:
    """End a lease without its id; also gives the seconds until it is over,
    rounded.

    ``period_s`` None: what is left of it, and nothing of an infinite one. A break can come
    sooner, but not later than what was left. Refuses: LeaseNotPresentWithLeaseOperation.
    """
    if old is None:
        raise Refused("LeaseNotPresentWithLeaseOperation")
    if not is_locked(old, now_us):
        return old._replace(is_broken=True, until_us=min(old.until_us, now_us)), 0
    endless = old.duration_s == INFINITE_S and not old.is_broken
    if period_s is None:
        until_us = now_us if endless else old.until_us
    else:
        until_us = now_us + period_s * SECOND_US
        until_us = until_us if endless else min(until_us, old.until_us)
    left_s = (until_us - now_us + SECOND_US // 2) // SECOND_US
    return old._replace(is_broken=True, until_us=until_us), left_s


def check_write(lease: Lease | None, now_us: int, lease_id: str | None, kind: Resource) -> None:
    """Refuses (412): LeaseIdMissing for what is locked, and what ``check_read`` does."""
    if lease_id is None and is_locked(lease, now_us):
        raise Refused("LeaseIdMissing", f"There is currently a lease on the {kind.lower()} and no"
                      " lease ID was specified in the request.")  # fmt: skip
    check_read(lease, now_us, lease_id, kind)


def check_read(lease: Lease | None, now_us: int, lease_id: str | None, kind: Resource) -> None:
    """A request that names a lease is for the one who holds it.

    Refuses (412): LeaseNotPresentWith…Operation, LeaseLost, LeaseIdMismatchWith…Operation.
    """
    if lease_id is None:
        return
    if lease is None:
        raise Refused(f"LeaseNotPresentWith{kind}Operation")
    if not is_locked(lease, now_us):
        raise Refused("LeaseLost", f"A lease ID was specified, but the lease for the"
                      f" {kind.lower()} has expired.")  # fmt: skip
    if not lease.names(lease_id):
        raise Refused(f"LeaseIdMismatchWith{kind}Operation")


def check_endless(lease: Lease | None, now_us: int) -> None:
    """What goes on after its request was answered needs a lease that cannot run out meanwhile.

    Refuses: InfiniteLeaseDurationRequired (412). Source: REST "Copy Blob".
    """
    if lease is not None and is_locked(lease, now_us) and lease.duration_s != INFINITE_S:
        raise Refused("InfiniteLeaseDurationRequired")


def after_write(lease: Lease | None, now_us: int) -> Lease | None:
    """What is left of a lease when something was written: one that was over cannot come back."""
    return lease if is_locked(lease, now_us) else None


def lease_text(lease: Lease | None) -> str:
    """As the database keeps it."""
    return json.dumps(lease) if lease is not None else ""


def parse_lease(text: str) -> Lease | None:
    """From what the database keeps."""
    return Lease(*json.loads(text)) if text else None


def _held(old: Lease | None, lease_id: str) -> Lease:
    if old is None or not old.names(lease_id):
        raise Refused("LeaseIdMismatchWithLeaseOperation")
    return old


def _end_us(duration_s: int, now_us: int) -> int:
    return 0 if duration_s == INFINITE_S else now_us + duration_s * SECOND_US
