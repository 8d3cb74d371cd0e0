"""Whom a copy may speak to, and how many there may be."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from storage_rig import running

from lote.storage import copies
from lote.storage.errors import Refused
from lote.storage.fetching import Unreachable, check_peer
from lote.storage.pending_copy import Copy


class Connection:
    """A connection that has reached an address."""

    def __init__(self, address):
        self.sock = self
        self._address = address
        self.is_closed = False

    def getpeername(self):
        return (self._address, 80)

    def close(self):
        self.is_closed = True


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1%eth0",
        "168.63.129.16",
        "fd00:ec2::254",
    ],
)
def test_services_of_the_machine_are_not_spoken_to(address):
    connection = Connection(address)
    with pytest.raises(Unreachable):
        check_peer(connection)
    assert connection.is_closed


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "52.239.1.1", "::ffff:10.0.0.1"]
)
def test_storage_on_this_machine_or_elsewhere_is(address):
    connection = Connection(address)
    check_peer(connection)
    assert not connection.is_closed


@pytest.mark.parametrize("room", [0, 1])
def test_copies_under_way_are_counted(tmp_path, monkeypatch, room):
    monkeypatch.setattr(copies, "COPIES_MAX", 1)

    async def begin():
        with running(tmp_path) as rig:
            under_way = rig.app._endpoint.copies
            nothing = (Copy(0, "id", 1), endless(), AsyncExitStack())
            if not room:
                under_way.start(*nothing)
            try:
                under_way.check_room()
            finally:
                await under_way.stop()

    if room:
        asyncio.run(begin())
        return
    with pytest.raises(Refused) as refused:
        asyncio.run(begin())
    assert (refused.value.status, refused.value.code) == (503, "ServerBusy")


async def endless():
    await asyncio.Event().wait()
    yield b""
