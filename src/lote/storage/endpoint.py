"""What handlers work with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lote.storage.authentication import Authenticator
from lote.storage.container import Policy, find_container
from lote.storage.depot import Depot
from lote.storage.outgoing import Sender

MIB = 1024 * 1024


class Limits(NamedTuple):
    """Sizes of bodies in bytes. Defaults: REST "Put Blob", "Put Block" since 2019-12-12."""

    put_blob_bytes_max: int = 5000 * MIB
    put_block_bytes_max: int = 4000 * MIB


class Endpoint(NamedTuple):
    """The parts of the running endpoint."""

    depot: Depot
    sender: Sender
    authenticator: Authenticator
    limits: Limits


async def find_policies(depot: Depot, account: str, container: str) -> Sequence[Policy]:
    """The stored access policies of a container; none if there is no such container."""
    found = await depot.read(lambda connection: find_container(connection, account, container))
    return found.policies if found is not None else ()
