"""Files of tasks and nodes: found by the record, fetched from the node that has them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from lote.domain.node import FILE_SERVABLE
from lote.server.handlers.pool import existing_pool
from lote.server.handlers.task import existing_task
from lote.server.kept import kept_facts, list_kept, open_kept
from lote.server.node_files import FileFacts, Listed
from lote.server.options import is_set
from lote.server.owner import Owner, Tx
from lote.server.pages import answer_list, filter_of, id_order, paged
from lote.server.request import Answer, Request
from lote.server.spec_views import RETENTION_DEFAULT
from lote.server.streams import Streams, Transfer
from lote.server.views import task_directory
from lote.store import nodes as node_rows
from lote.store.records import COMPLETED, PLACED, PREPARING, TaskRecord
from lote.wire.errors import Refused
from lote.wire.formats import format_http_date, format_timestamp, parse_duration
from lote.wire.frames import Open
from lote.wire.odata import evaluate
from lote.wire.task import TaskConstraints


class Place(msgspec.Struct):
    """Where files are: a node, and the directory on it that names are relative to."""

    node_key: int
    node_id: str
    directory: str
    url: str
    kept: Path | None = None
    """Where the server keeps outputs of a node that has gone."""
    is_expired: bool = False
    """Whether the node may have removed the directory: its retention time is over."""


class _Named(msgspec.Struct):
    id: str
    listed: Listed


_lines = msgspec.json.Decoder(Listed)
_OFFSET = re.compile("[0-9]{1,18}")  # what a size in bytes may be


# -- where ----------------------------------------------------------------------------------


def find_task_files(tx: Tx, request: Request) -> Place:
    """The directory of a task. Refuses: TaskFilesUnavailable when its node is not there."""
    job, record = existing_task(tx.db, request)
    url = f"{request.base_url}/jobs/{job.id}/tasks/{record.id}/files"
    directory = task_directory(job.id, record.id)
    was_reactivated = record.previous_phase == COMPLETED
    runs_again = record.phase < PLACED and bool(record.requeues or record.reruns or was_reactivated)
    has_run = record.phase >= PREPARING or record.start_us is not None or runs_again
    node = tx.memory.nodes.get(record.node_key or 0)
    if node is not None and node.link is not None and has_run:
        expired = _is_expired(record, tx.now_us)
        return Place(node.key, node.id, directory, url, is_expired=expired)
    kept = tx.memory.kept
    folder = kept.directory(record.node_id, directory) if kept and record.node_id else None
    if folder is None or node is not None:
        raise Refused("TaskFilesUnavailable")
    return Place(0, record.node_id or "", directory, url, folder)


class _Constrained(msgspec.Struct):
    constraints: TaskConstraints | None = None


_constrained = msgspec.json.Decoder(_Constrained)


def _is_expired(record: TaskRecord, now_us: int) -> bool:
    if record.phase != COMPLETED or record.end_us is None:
        return False
    constraints = _constrained.decode(record.spec).constraints
    text = constraints.retention_time if constraints else None
    retention_s = parse_duration(text or RETENTION_DEFAULT)
    return retention_s is not None and now_us > record.end_us + int(retention_s * 1_000_000)


def find_node_files(tx: Tx, request: Request) -> Place:
    """The root directory of a node. Refuses: OperationInvalidForCurrentState when it can't be
    reached."""
    pool = existing_pool(tx.db, request.params["pool_id"])
    record = node_rows.get_node(tx.db, pool.id, request.params["node_id"])
    if record is None:
        raise Refused("NodeNotFound")
    node = tx.memory.nodes.get(record.key)
    if node is None or node.link is None or node.state not in FILE_SERVABLE:
        raise Refused("OperationInvalidForCurrentState")
    url = f"{request.base_url}/pools/{pool.id}/nodes/{record.id}/files"
    return Place(node.key, node.id, "", url)


# -- the operations -------------------------------------------------------------------------


class Files(msgspec.Struct):
    """What these handlers need: the owner to find files, the streams to fetch them."""

    owner: Owner
    streams: Streams


Work = Callable[[Files, Request, Place], Awaitable[Answer]]


async def list_task_files(files: Files, request: Request) -> Answer:
    """One page of a task's files. Refuses: TaskNotFound, TaskFilesUnavailable,
    TaskFilesCleanedup."""
    return await _of_task(_list, files, request)


async def list_node_files(files: Files, request: Request) -> Answer:
    """One page of a node's files. Refuses: NodeNotFound, OperationInvalidForCurrentState."""
    return await _list(files, request, await files.owner.ask(find_node_files, request))


async def download_task_file(files: Files, request: Request) -> Answer:
    """The bytes of a task's file. Refuses: FileNotFound, InvalidRange."""
    return await _of_task(_download, files, request)


async def download_node_file(files: Files, request: Request) -> Answer:
    """The bytes of a node's file. Refuses: FileNotFound, InvalidRange."""
    return await _download(files, request, await files.owner.ask(find_node_files, request))


async def get_task_file_properties(files: Files, request: Request) -> Answer:
    """What is known of a task's file. Refuses: FileNotFound."""
    return await _of_task(_properties, files, request)


async def get_node_file_properties(files: Files, request: Request) -> Answer:
    """What is known of a node's file. Refuses: FileNotFound."""
    return await _properties(files, request, await files.owner.ask(find_node_files, request))


async def delete_task_file(files: Files, request: Request) -> Answer:
    """Delete a task's file or, with ``recursive``, directory. Refuses: FileNotFound."""
    return await _of_task(_delete, files, request)


async def delete_node_file(files: Files, request: Request) -> Answer:
    """Delete a node's file or, with ``recursive``, directory. Refuses: FileNotFound."""
    return await _delete(files, request, await files.owner.ask(find_node_files, request))


async def _of_task(work: Work, files: Files, request: Request) -> Answer:
    """Refuses what is no longer there because its time is over: TaskFilesCleanedup."""
    place = await files.owner.ask(find_task_files, request)
    try:
        return await work(files, request, place)
    except Refused as refused:
        if place.is_expired and refused.code in ("FileNotFound", "PathNotFound"):
            raise Refused("TaskFilesCleanedup") from None
        raise


# -- how ------------------------------------------------------------------------------------


async def _list(files: Files, request: Request, place: Place) -> Answer:
    is_recursive = is_set(request.query, "recursive")
    if place.kept is not None:
        found = list_kept(place.kept)
    else:
        frame = Open(files.streams.new_id(), "list", place.directory, recursive=is_recursive)
        transfer = await files.streams.ask(place.node_key, place.node_id, frame)
        text = b"".join([piece async for piece in pieces(transfer)])
        found = [_lines.decode(line) for line in text.splitlines() if line]
    where = filter_of(request)
    if where is not None:
        found = [one for one in found if evaluate(where, {"name": one.name}.get)]
    named = sorted((_Named(one.name, one) for one in found), key=lambda one: id_order(one.id))
    page, next_id = paged(request, named)
    return answer_list(request, [_shown(one.listed, place.url) for one in page], next_id)


def _shown(one: Listed, url: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": one.name,
        "url": f"{url}/{quote(one.name)}",
        "isDirectory": one.is_directory,
    }
    if not one.is_directory:
        shown["properties"] = {
            "lastModified": format_timestamp(one.modified_us),
            "contentLength": str(one.size),
            "contentType": one.content_type,
            "fileMode": one.mode,
        }
    return shown


async def _download(files: Files, request: Request, place: Place) -> Answer:
    byte_range = parse_range(request.headers.get("ocp-range"))
    start, end = byte_range or (None, None)
    if place.kept is not None:
        facts, body = open_kept(place.kept, request.params["file_path"], start, end)
    else:
        path = _path(request, place)
        frame = Open(files.streams.new_id(), "get", path, start=start, end=end)
        transfer = await files.streams.ask(place.node_key, place.node_id, frame)
        facts = transfer.began.result()[2]
        if facts.is_directory:
            transfer.finish()
            raise Refused("OperationInvalidForCurrentState", "The path names a directory.")
        body = pieces(transfer)
    headers = file_headers(request, place, facts)
    if byte_range is not None:
        last = facts.start + facts.length - 1
        headers.append(("Content-Range", f"bytes {facts.start}-{last}/{facts.size}"))
    # 206 makes the SDKs fail: a range is answered with 200. Source: REST, ocp-range.
    return Answer(modified_us=facts.modified_us, headers=headers, length=facts.length, stream=body)


async def _properties(files: Files, request: Request, place: Place) -> Answer:
    if place.kept is not None:
        facts = kept_facts(place.kept, request.params["file_path"])
    else:
        frame = Open(files.streams.new_id(), "head", _path(request, place))
        transfer = await files.streams.ask(place.node_key, place.node_id, frame)
        transfer.finish()
        facts = transfer.began.result()[2]
    headers = file_headers(request, place, facts)
    return Answer(modified_us=facts.modified_us, headers=headers, length=facts.size)


async def _delete(files: Files, request: Request, place: Place) -> Answer:
    is_recursive = is_set(request.query, "recursive")
    if place.kept is not None:
        kept_facts(place.kept, request.params["file_path"])
        raise Refused("TaskFilesUnavailable")
    path = _path(request, place)
    frame = Open(files.streams.new_id(), "delete", path, recursive=is_recursive)
    transfer = await files.streams.ask(place.node_key, place.node_id, frame)
    transfer.finish()
    return Answer()


def file_headers(request: Request, place: Place, facts: FileFacts) -> list[tuple[str, str]]:
    """The headers that describe a file."""
    url = f"{place.url}/{request.params['file_path']}"
    headers = [
        ("Last-Modified", format_http_date(facts.modified_us)),
        ("ocp-batch-file-isdirectory", "True" if facts.is_directory else "False"),
        ("ocp-batch-file-url", quote(url, safe="")),
    ]
    if facts.mode:
        headers.append(("ocp-batch-file-mode", facts.mode))
    if not facts.is_directory:
        headers.append(("Content-Type", facts.content_type))
    return headers


def parse_range(text: str | None) -> tuple[int, int | None] | None:
    """``bytes=a-b`` or ``bytes=a-``. Refuses: InvalidHeaderValue."""
    if text is None:
        return None
    unit, _, span = text.strip().partition("=")
    first, dash, last = span.partition("-")
    is_right = unit.lower() == "bytes" and dash and _OFFSET.fullmatch(first)
    if not is_right or (last and not _OFFSET.fullmatch(last)):
        raise Refused(
            "InvalidHeaderValue", values=[("HeaderName", "ocp-range"), ("HeaderValue", text[:64])]
        )
    start, end = int(first), int(last) if last else None
    if end is not None and end < start:
        raise Refused("InvalidRange")
    return start, end


async def pieces(transfer: Transfer) -> AsyncGenerator[bytes]:
    """The body, and the end of the transfer whatever happens."""
    try:
        async for piece in transfer.body():
            yield piece
    finally:
        transfer.finish()


def _path(request: Request, place: Place) -> str:
    name = request.params["file_path"].replace("\\", "/").strip("/")
    return f"{place.directory}/{name}" if place.directory else name
