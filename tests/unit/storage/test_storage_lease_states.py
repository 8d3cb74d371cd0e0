"""Leases: every action in every state, and what a lease keeps others from, on a stepped clock."""

from __future__ import annotations

import pytest
from storage_rig import ACCOUNT, running

from lote.storage import lease
from lote.storage.errors import Refused

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
SECOND_US = 1_000_000
NOW_US = 1_000 * SECOND_US
STATES = {
    "available": None,
    "leased": lease.Lease(A, 15, NOW_US + 10 * SECOND_US, False),
    "breaking": lease.Lease(A, 15, NOW_US + 10 * SECOND_US, True),
    "broken": lease.Lease(A, 15, NOW_US, True),
    "expired": lease.Lease(A, 15, NOW_US, False),
}
PRESENT, ABSENT = "LeaseAlreadyPresent", "LeaseNotPresentWithLeaseOperation"
OTHER, BROKEN = "LeaseIdMismatchWithLeaseOperation", "LeaseIsBrokenAndCannotBeRenewed"
ACTIONS = {
    "acquire A": lambda old: lease.acquire(old, NOW_US, 20, A),
    "acquire B": lambda old: lease.acquire(old, NOW_US, 20, B),
    "break now": lambda old: lease.break_off(old, NOW_US, 0)[0],
    "break soon": lambda old: lease.break_off(old, NOW_US, 5)[0],
    "A to B": lambda old: lease.change(old, NOW_US, A, B),
    "B to A": lambda old: lease.change(old, NOW_US, B, A),
    "B to C": lambda old: lease.change(old, NOW_US, B, C),
    "renew A": lambda old: lease.renew(old, NOW_US, A),
    "renew B": lambda old: lease.renew(old, NOW_US, B),
    "release A": lambda old: lease.release(old, A),
    "release B": lambda old: lease.release(old, B),
}
OUTCOMES = {  # of each action in available, leased, breaking, broken, expired
    "acquire A": ("leased", "leased", "LeaseIsBreakingAndCannotBeAcquired", "leased", "leased"),
    "acquire B": ("leased", PRESENT, PRESENT, "leased", "leased"),
    "break now": (ABSENT, "broken", "broken", "broken", "broken"),
    "break soon": (ABSENT, "breaking", "breaking", "broken", "broken"),
    "A to B": (ABSENT, "leased", "LeaseIsBreakingAndCannotBeChanged", ABSENT, ABSENT),
    "B to A": (ABSENT, "leased", "LeaseIsBreakingAndCannotBeChanged", ABSENT, ABSENT),
    "B to C": (ABSENT, OTHER, OTHER, ABSENT, ABSENT),
    "renew A": (OTHER, "leased", BROKEN, BROKEN, "leased"),
    "renew B": (OTHER, OTHER, OTHER, OTHER, OTHER),
    "release A": (OTHER, "available", "available", "available", "available"),
    "release B": (OTHER, OTHER, OTHER, OTHER, OTHER),
}


def refusal_of(ask):
    try:
        ask()
    except Refused as refused:
        return refused.code
    return ""


def outcome(action, old):
    try:
        return lease.state_of(ACTIONS[action](old), NOW_US)
    except Refused as refused:
        return refused.code if refused.status == 409 else f"{refused.status}"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_in_every_state(action):
    for (name, old), expected in zip(STATES.items(), OUTCOMES[action], strict=True):
        assert lease.state_of(old, NOW_US) == name
        assert (action, name, outcome(action, old)) == (action, name, expected)


def test_breaks_come_no_later_than_the_end():
    fixed, endless = STATES["leased"], lease.acquire(None, NOW_US, lease.INFINITE_S, A)
    cases = [(fixed, None, 10), (fixed, 60, 10), (fixed, 4, 4), (endless, None, 0), (endless, 9, 9)]
    for old, period_s, left_s in cases:
        broken, found = lease.break_off(old, NOW_US, period_s)
        assert (found, broken.until_us) == (left_s, NOW_US + left_s * SECOND_US)
    once, _ = lease.break_off(endless, NOW_US, 30)
    assert lease.break_off(once, NOW_US, 50)[1] == 30
    assert lease.break_off(once, NOW_US, 20)[1] == 20
    assert lease.break_off(once, NOW_US, None)[1] == 30


def test_ids_are_guids_in_any_form():
    held = STATES["leased"]
    for text in (A.upper(), A.replace("-", ""), f"{{{A}}}"):
        assert lease.renew(held, NOW_US, text).id == A


@pytest.mark.parametrize("kind", ["Blob", "Container"])
def test_use_in_every_state(kind):
    absent, lost = f"LeaseNotPresentWith{kind}Operation", "LeaseLost"
    other, missing = f"LeaseIdMismatchWith{kind}Operation", "LeaseIdMissing"
    expected = {
        (A, "write"): (absent, "", "", lost, lost),
        (A, "read"): (absent, "", "", lost, lost),
        (B, "write"): (absent, other, other, lost, lost),
        (B, "read"): (absent, other, other, lost, lost),
        (None, "write"): ("", missing, missing, "", ""),
        (None, "read"): ("", "", "", "", ""),
    }
    checks = {"write": lease.check_write, "read": lease.check_read}
    for (lease_id, use), codes in expected.items():
        found = [
            refusal_of(lambda o=old, i=lease_id, u=use: checks[u](o, NOW_US, i, kind))
            for old in STATES.values()
        ]
        assert (lease_id, use, tuple(found)) == (lease_id, use, codes)


def lease_of(rig, path="box/x", query=None):
    """Duration, state and status as a client sees them."""
    headers = rig.ask("HEAD", f"/{ACCOUNT}/{path}", query).headers
    return tuple(headers.get(f"x-ms-lease-{name}", "") for name in ("duration", "state", "status"))


def act(rig, action, headers=None, path="box/x", query=None):
    sent = {f"x-ms-{name}": value for name, value in (headers or {}).items()}
    reply = rig.ask(
        "PUT", f"/{ACCOUNT}/{path}", {"comp": "lease", **(query or {})},
        headers={"x-ms-lease-action": action, **sent},
    )  # fmt: skip
    return reply.status, reply.headers.get("x-ms-error-code", "")


ACQUIRE = {"lease-duration": "15", "proposed-lease-id": A}
AVAILABLE, FIXED = ("", "available", "unlocked"), ("fixed", "leased", "locked")


def test_time_ends_a_lease_and_the_holder_can_take_it_up_again(rig):
    rig.put("x", b"1")
    before = rig.get("x").headers["etag"]
    assert act(rig, "acquire", ACQUIRE) == (201, "")
    assert lease_of(rig) == FIXED
    rig.world.advance(15)
    assert lease_of(rig) == ("", "expired", "unlocked")
    assert act(rig, "renew", {"lease-id": A}) == (200, "")
    assert lease_of(rig) == FIXED
    assert rig.get("x").headers["etag"] == before
    rig.world.advance(15)
    assert rig.put("x", b"2").status == 201
    assert lease_of(rig) == AVAILABLE
    assert act(rig, "renew", {"lease-id": A}) == (409, OTHER)


def test_a_break_takes_its_time(rig):
    rig.put("x", b"1")
    act(rig, "acquire", ACQUIRE | {"lease-duration": "-1"})
    assert lease_of(rig) == ("infinite", "leased", "locked")
    assert act(rig, "break", {"lease-break-period": "20"}) == (202, "")
    assert lease_of(rig) == ("", "breaking", "locked")
    rig.world.advance(20)
    assert lease_of(rig) == ("", "broken", "unlocked")
    assert act(rig, "release", {"lease-id": A}) == (200, "")
    assert lease_of(rig) == AVAILABLE


SOURCE = f"http://here/{ACCOUNT}/box/y"
WRITES = [
    ("PUT", {}, {"x-ms-blob-type": "BlockBlob"}, b"2"),
    ("PUT", {"comp": "metadata"}, {"x-ms-meta-a": "b"}, b""),
    ("PUT", {"comp": "properties"}, {"x-ms-blob-content-type": "a/b"}, b""),
    ("PUT", {"comp": "block", "blockid": "QQ=="}, {}, b"2"),
    ("PUT", {"comp": "blocklist"}, {}, b"<BlockList />"),
    ("PUT", {}, {"x-ms-copy-source": SOURCE, "x-ms-requires-sync": "true"}, b""),
    ("PUT", {}, {"x-ms-copy-source": SOURCE, "x-ms-blob-type": "BlockBlob"}, b""),
    ("PUT", {"comp": "tier"}, {"x-ms-access-tier": "Cool"}, b""),
    ("PUT", {"comp": "tags"}, {}, b"<Tags><TagSet /></Tags>"),
    ("DELETE", {}, {}, b""),
]


@pytest.mark.parametrize("write", WRITES, ids=range(len(WRITES)))
def test_every_write_needs_the_lease(rig, write):
    method, query, headers, body = write
    rig.put("x", b"1")
    rig.put("y", b"1")
    act(rig, "acquire", ACQUIRE)

    def ask(sent):
        reply = rig.ask(method, f"/{ACCOUNT}/box/x", query, body, headers | sent)
        return reply.status, reply.headers.get("x-ms-error-code", "")

    assert ask({}) == (412, "LeaseIdMissing")
    assert ask({"x-ms-lease-id": B}) == (412, "LeaseIdMismatchWithBlobOperation")
    assert lease_of(rig) == FIXED
    rig.world.advance(16)
    assert ask({"x-ms-lease-id": A}) == (412, "LeaseLost")
    assert act(rig, "renew", {"lease-id": A}) == (200, "")
    assert ask({"x-ms-lease-id": A})[0] < 300
    assert method == "DELETE" or lease_of(rig) == FIXED


READS = [
    ("GET", {}, 200),
    ("HEAD", {}, 200),
    ("GET", {"comp": "metadata"}, 200),
    ("GET", {"comp": "blocklist"}, 200),
    ("GET", {"comp": "tags"}, 200),
    ("PUT", {"comp": "snapshot"}, 201),
]


@pytest.mark.parametrize("read", READS, ids=range(len(READS)))
def test_a_read_that_names_a_lease_needs_it(rig, read):
    method, query, ok = read
    rig.put("x", b"1")
    act(rig, "acquire", ACQUIRE)

    def status(headers):
        return rig.ask(method, f"/{ACCOUNT}/box/x", query, headers=headers).status

    ids = ({}, {"x-ms-lease-id": A}, {"x-ms-lease-id": B})
    assert [status(headers) for headers in ids] == [ok, ok, 412]
    rig.world.advance(16)
    assert [status(headers) for headers in ids] == [ok, 412, 412]


def test_a_copy_that_takes_its_time_needs_a_lease_without_an_end(rig):
    rig.put("x", b"1")
    rig.put("y", b"2")

    def copy():
        headers = {"x-ms-copy-source": SOURCE, "x-ms-lease-id": A}
        reply = rig.ask("PUT", f"/{ACCOUNT}/box/x", headers=headers)
        return reply.status, reply.headers.get("x-ms-error-code", "")

    act(rig, "acquire", ACQUIRE)
    assert copy() == (412, "InfiniteLeaseDurationRequired")
    assert rig.get("x").body == b"1"
    act(rig, "acquire", ACQUIRE | {"lease-duration": "-1"})
    assert copy() == (202, "")
    assert (rig.get("x").body, lease_of(rig)) == (b"2", ("infinite", "leased", "locked"))


def test_a_container_can_only_be_deleted_by_its_holder(rig):
    box = {"restype": "container"}
    assert act(rig, "acquire", ACQUIRE, "box", box) == (201, "")
    assert lease_of(rig, "box", box) == FIXED
    assert rig.put("x", b"1").status == 201
    for comp in ("metadata", "acl"):
        query = {**box, "comp": comp}
        codes = [
            rig.ask("PUT", f"/{ACCOUNT}/box", query, headers=headers).status
            for headers in ({}, {"x-ms-lease-id": A}, {"x-ms-lease-id": B})
        ]
        assert codes == [200, 200, 412]
    for headers, status in (({}, 412), ({"x-ms-lease-id": B}, 412), ({"x-ms-lease-id": A}, 202)):
        assert rig.ask("DELETE", f"/{ACCOUNT}/box", box, headers=headers).status == status


@pytest.mark.parametrize(
    ("action", "headers", "code"),
    [
        ("", {}, "InvalidHeaderValue"),
        ("steal", {}, "InvalidHeaderValue"),
        ("acquire", {}, "MissingRequiredHeader"),
        ("acquire", {"lease-duration": "14"}, "InvalidHeaderValue"),
        ("acquire", {"lease-duration": "61"}, "InvalidHeaderValue"),
        ("acquire", {"lease-duration": "x"}, "InvalidHeaderValue"),
        ("break", {"lease-break-period": "61"}, "InvalidHeaderValue"),
        ("break", {"lease-break-period": "-1"}, "InvalidHeaderValue"),
        ("renew", {}, "MissingRequiredHeader"),
        ("change", {"lease-id": A}, "MissingRequiredHeader"),
    ],
)
def test_what_makes_no_sense_is_refused(rig, action, headers, code):
    rig.put("x", b"1")
    assert act(rig, action, headers) == (400, code)


def test_a_lease_outlives_the_server(tmp_path):
    with running(tmp_path) as rig:
        rig.make_box()
        rig.put("x", b"1")
        act(rig, "acquire", ACQUIRE)
    with running(tmp_path) as rig:
        assert lease_of(rig) == FIXED
        assert rig.put("x", b"2").headers["x-ms-error-code"] == "LeaseIdMissing"
