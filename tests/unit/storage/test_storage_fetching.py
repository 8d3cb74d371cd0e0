"""Whom a copy may speak to."""

from __future__ import annotations

import pytest

from lote.storage.fetching import Unreachable, check_peer


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
