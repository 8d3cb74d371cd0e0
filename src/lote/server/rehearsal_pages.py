"""The pages of rehearsals: ``/rehearsals``, beside the protocol. Lote's own.

GET lists, POST begins one, DELETE ``/rehearsals/<id>`` ends one. Errors are those of the protocol.
"""

from __future__ import annotations

import msgspec

from lote.server.owner import Owner
from lote.server.rehearsals import begin_rehearsal, list_rehearsals, stop_rehearsal
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.rehearsal import RehearsalCreate

PATH = "/rehearsals"


def is_rehearsal(path: str) -> bool:
    """Whether a path, after the account if that stands in front, is one of these pages."""
    return path == PATH or path.startswith(PATH + "/")


async def answer_rehearsal(owner: Owner, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and JSON body for a request that was authenticated.

    Refuses: ResourceNotFound, UnsupportedHttpVerb, and what beginning one refuses.
    """
    name = path[len(PATH) :].strip("/")
    if name:
        if not (name.isascii() and name.isdigit() and len(name) < 18):
            raise Refused("ResourceNotFound")
        if method != "DELETE":
            raise Refused("UnsupportedHttpVerb")
        return 200, msgspec.json.encode(await owner.ask(stop_rehearsal, int(name)))
    if method == "GET":
        return 200, msgspec.json.encode({"value": await owner.ask(list_rehearsals)})
    if method != "POST":
        raise Refused("UnsupportedHttpVerb")
    made = await owner.ask(begin_rehearsal, decode(body, RehearsalCreate))
    return 201, msgspec.json.encode(made)
