"""A batch of requests: each is authorised and answered by itself."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from lote.storage.batch import BODY_MAX_BYTES, Part, PartAnswer, batch_body, parse_batch
from lote.storage.call import Answer, Call, part_call
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, missing_header
from lote.storage.operations import match_operation

TAKEN = frozenset({"delete_blob", "set_blob_tier"})  # REST: Blob Batch


async def submit_batch(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Blob Batch. What is wrong with the batch as a whole is told in a single part."""
    content_type = call.headers.get("content-type")
    if not content_type:
        raise missing_header("Content-Type")
    body = await call.small_body(BODY_MAX_BYTES)
    try:
        parts = parse_batch(content_type, body)
        calls = [_part_call(call, number, part) for number, part in enumerate(parts)]
        check_same(calls)
    except Refused as refused:
        answer = endpoint.refuse(refused, call)
        answers = [PartAnswer(None, answer.status, answer.headers, answer.body)]
    else:
        # Together, so that they share a commit.
        answers = await asyncio.gather(
            *(
                _answer_part(call, part, one, endpoint)
                for part, one in zip(parts, calls, strict=True)
            )
        )
    boundary = f"batchresponse_{call.request_id}"
    headers = {"Content-Type": f"multipart/mixed; boundary={boundary}"}
    return Answer(202, headers, batch_body(boundary, answers))


def check_same(calls: list[Call]) -> None:
    """Refuses: InvalidInput for a batch of different operations, or of one not taken."""
    names = set()
    for one in calls:
        query = one.query
        row = match_operation(
            one.method, one.level, query.get("restype", ""), query.get("comp", "")
        )
        names.add(row.name)
    if len(names) > 1 or not names <= TAKEN:
        raise Refused("InvalidInput", "All parts of a batch must delete blobs, or set tiers.")


def _part_call(call: Call, number: int, part: Part) -> Call:
    target = urlsplit(part.target)
    request_id = f"{call.request_id[:-4]}{number:04x}"
    return part_call(call, part.method, target.path, target.query, part.headers, request_id)


async def _answer_part(outer: Call, part: Part, call: Call, endpoint: Endpoint) -> PartAnswer:
    if outer.container and call.container != outer.container:
        refused = Refused("InvalidInput", "The blob is not in the container of the batch.")
        answer = endpoint.refuse(refused, call)
    else:
        answer = await endpoint.answer(call)
    headers = dict(answer.headers) | {"x-ms-request-id": call.request_id}
    for name in ("x-ms-version", "x-ms-client-request-id"):
        value = (outer if name == "x-ms-version" else call).headers.get(name)
        if value:
            headers[name] = value
    headers["Content-Length"] = str(len(answer.body))
    return PartAnswer(part.content_id, answer.status, headers, answer.body)
