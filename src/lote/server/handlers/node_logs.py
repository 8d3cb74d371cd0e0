"""Upload of a node's logs to a container of the client's."""

from __future__ import annotations

import hashlib

from lote.server.handlers.file import Files, find_node_files, pieces
from lote.server.request import Answer, Request, json_answer
from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import parse_timestamp
from lote.wire.frames import Open
from lote.wire.node import UploadBatchServiceLogs
from lote.wire.rules import check_url

ACCOUNT_HASH_CHARS = 16


async def upload_node_logs(files: Files, request: Request) -> Answer:
    """Upload the node's log files with lines of the time asked for, whole.

    Refuses: NodeNotFound, OperationInvalidForCurrentState for a node without contact,
    InvalidPropertyValue for a container that can't be written.
    """
    body: UploadBatchServiceLogs = request.body
    if body.identity_reference is not None:
        reason = "There are no managed identities here: sign the container's URL."
        raise invalid_property("identityReference", "", reason)
    if not body.container_url:
        raise missing_property("containerUrl")
    check_url("containerUrl", body.container_url)
    place = await files.owner.ask(find_node_files, request)
    stream = files.streams.new_id()
    account = hashlib.sha256(request.account.encode()).hexdigest()[:ACCOUNT_HASH_CHARS]
    directory = f"batch-{account}/{request.params['pool_id']}/{place.node_id}/{stream}"
    frame = Open(
        stream,
        "logs",
        body.container_url,
        start=_moment("startTime", body.start_time),
        end=_moment("endTime", body.end_time) if body.end_time else None,
        prefix=directory,
    )
    try:
        transfer = await files.streams.ask(place.node_key, place.node_id, frame)
    except Refused as refused:
        if refused.code != "InvalidPropertyValue":
            raise
        reason = "The container can't be written with this URL."
        raise invalid_property("containerUrl", "", reason) from None
    count = b"".join([piece async for piece in pieces(transfer)])
    metadata = f"{request.base_url}/$metadata#{request.operation.metadata}"
    return json_answer(
        {
            "odata.metadata": metadata,
            "virtualDirectoryName": directory,
            "numberOfFilesUploaded": int(count),
        }
    )


def _moment(name: str, text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise invalid_property(name, text, "This is not a time.") from None
