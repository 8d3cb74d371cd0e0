"""What a node's folder says of its agent, so that a restarted server finds it again.

The record holds no secret: the agent alone keeps it, in memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lote.engines.process import boot_id, open_process, read_command, read_stat

RECORD_NAME = "agent.json"


class AgentRecord(msgspec.Struct, frozen=True):
    """An agent process: pid, start time in ticks, boot, and the command it was started with.

    ``pid`` is 0 from the making of the folder until the process exists.
    """

    pool_id: str
    pid: int = 0
    start_ticks: int = 0
    boot: str = ""
    command: tuple[str, ...] = ()


def record_of(pool_id: str, pid: int, command: tuple[str, ...]) -> AgentRecord:
    """The record of a child that was started just now and is not reaped yet."""
    stat = read_stat(pid)
    start_ticks = 0 if stat is None else stat.start_ticks
    return AgentRecord(pool_id, pid, start_ticks, boot_id(), command)


def write_record(folder: Path, record: AgentRecord) -> None:
    """Put the record into the node's folder, readable by its owner alone; atomic."""
    draft = folder / (RECORD_NAME + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
    draft.rename(folder / RECORD_NAME)


def read_record(folder: Path) -> AgentRecord | None:
    """The record of a node's folder; None when there is none, so that it is no node's folder."""
    try:
        content = (folder / RECORD_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return msgspec.json.decode(content, type=AgentRecord)
    except msgspec.DecodeError:
        # Torn by a crash of the machine: the node is ours, and its agent did not outlive that.
        return AgentRecord(pool_id="")


def open_agent(record: AgentRecord) -> int | None:
    """A pidfd of the agent of a record if it still lives; the caller closes it."""
    if not record.pid or record.boot != boot_id():
        return None
    descriptor = open_process(record.pid, record.start_ticks)
    if descriptor is None:
        return None
    if read_command(record.pid) != list(record.command):
        os.close(descriptor)
        return None
    return descriptor
