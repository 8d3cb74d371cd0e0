"""The lease: what an agent may do on the server's last word, and how it gets a new one."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.lease import Lease, RunPermit
from lote.blobs.failure import BlobStopped

GRACE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_lease_counts_from_the_sending():
    clock = Clock()
    lease = Lease(clock, GRACE_S)
    assert not lease.is_good()  # nothing was heard yet
    sent_s = clock.now_s
    clock.now_s += 29.0
    lease.renew(sent_s)
    assert lease.is_good()
    clock.now_s += 1.0
    assert not lease.is_good()
    lease.renew(sent_s + 10)
    lease.renew(sent_s)  # an older answer takes nothing back
    assert lease.is_good()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100))))
def test_a_good_lease_is_never_older_than_half_the_grace(answers):
    """Each answer: how long after the one before it came, and how long it was under way."""
    clock = Clock()
    lease = Lease(clock, GRACE_S)
    newest_s = float("-inf")
    for later_s, way_s in answers:
        clock.now_s += later_s
        newest_s = max(newest_s, clock.now_s - way_s)
        lease.renew(clock.now_s - way_s)
        assert lease.is_good() == (clock.now_s - newest_s < GRACE_S / 2)


def test_a_permit_holds_without_asking_while_the_lease_is_good():
    clock = Clock()
    lease = Lease(clock, GRACE_S)
    lease.renew(clock.now_s)
    permit = RunPermit(lease, lambda: pytest.fail("asked"), threading.Event())
    permit.ensure()
    assert permit.holds()


def test_a_permit_asks_until_the_lease_is_good_again():
    clock = Clock()
    lease = Lease(clock, GRACE_S)
    asked = []

    def ask() -> None:
        asked.append(clock.now_s)
        if len(asked) == 3:  # the first answers were too long under way
            lease.renew(clock.now_s)
        permit.answer()

    permit = RunPermit(lease, ask, threading.Event())
    permit.ensure()
    assert len(asked) == 3


def test_a_lapse_that_was_seen_needs_more_than_a_pong():
    clock = Clock()
    lease = Lease(clock, GRACE_S)
    lease.renew(clock.now_s)
    asked = []

    def ask() -> None:
        asked.append(1)
        permit.answer()

    permit = RunPermit(lease, ask, threading.Event())
    assert permit.holds()
    clock.now_s += GRACE_S
    assert not permit.holds()
    lease.renew(clock.now_s)  # a pong
    assert not permit.holds()
    permit.ensure()
    assert asked == [1]
    assert permit.holds()


def test_a_permit_ends_with_its_run():
    lease = Lease(Clock(), GRACE_S)
    stop = threading.Event()

    def ask() -> None:
        stop.set()
        permit.answer()

    permit = RunPermit(lease, ask, stop)
    with pytest.raises(BlobStopped):
        permit.ensure()
    lease.renew(1000.0)
    assert not permit.holds()

    def closed() -> None:
        raise RuntimeError("the loop is closed")

    with pytest.raises(BlobStopped):
        RunPermit(Lease(Clock(), GRACE_S), closed, threading.Event()).ensure()
