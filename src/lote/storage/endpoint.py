"""What handlers work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from lote.storage.addresses import Addresses
from lote.storage.authentication import Authenticator
from lote.storage.call import Answer, Call
from lote.storage.container import Container, find_container
from lote.storage.copies import Copies
from lote.storage.depot import Depot
from lote.storage.errors import Refused
from lote.storage.outgoing import Sender
from lote.storage.properties import AccountProperties

MIB = 1024 * 1024


class Limits(NamedTuple):
    """Sizes of bodies in bytes. Defaults: REST "Put Blob", "Put Block" since 2019-12-12."""

    put_blob_bytes_max: int = 5000 * MIB
    put_block_bytes_max: int = 4000 * MIB
    append_block_bytes_max: int = 100 * MIB  # REST: Append Block since 2022-11-02
    sync_copy_bytes_max: int = 256 * MIB  # REST: Copy Blob From URL


class Endpoint(NamedTuple):
    """The parts of the running endpoint. ``answer`` authorises and carries out a request, and
    answers its refusals too; ``refuse`` is the answer that a refusal is."""

    depot: Depot
    sender: Sender
    authenticator: Authenticator
    limits: Limits
    properties: AccountProperties
    addresses: Addresses
    answer: Callable[[Call], Awaitable[Answer]]
    refuse: Callable[[Refused, Call], Answer]
    copies: Copies


async def read_container(depot: Depot, account: str, name: str) -> Container | None:
    """A container as it was last committed; None if there is none of this name."""
    return await depot.glance(lambda connection: find_container(connection, account, name))
