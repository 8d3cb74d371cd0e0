"""How a container crew leaves; a script stands in for the container command."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from lote.agent import orders
from lote.agent.container_crew import Crew
from lote.agent.container_engine import ContainerEngine
from lote.agent.container_line import ContainerFailed
from lote.agent.container_words import (
    Began,
    Begin,
    CrewSettings,
    Fetched,
    Note,
    Prefetch,
    note_of,
    pack,
)

SCRIPT = """#!/bin/sh
case "$*" in
*"ps --all"*) if [ -e {folder}/broken ]; then echo locked >&2; exit 125; fi ;;
create*) echo made ;;
start*) until [ -e {folder}/killed ]; do sleep 0.02; done; exit 137 ;;
kill*) touch {folder}/killed ;;
inspect*) echo '{{"Status": "exited", "ExitCode": 137, "StartedAt": "2026"}}' ;;
esac
"""
DEADLINE_S = 60.0


def test_control_groups_go_although_the_last_containers_could_not_be_looked_for(
    tmp_path, monkeypatch
):
    left: list[str] = []
    monkeypatch.setattr(ContainerEngine, "leave", lambda engine: left.append("left"))
    script = tmp_path / "script"
    script.write_text(SCRIPT.format(folder=tmp_path))
    script.chmod(0o755)
    settings = CrewSettings([str(script)], [], "/root", str(tmp_path))
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    unpacker = orders.Unpacker()

    def told() -> Note:
        while True:
            for message in unpacker.feed(ours.recv(1 << 16)):
                return note_of(message)

    others = threading.enumerate()
    with theirs:
        with ThreadPoolExecutor(1) as threads, ours:  # ours goes first, whatever happens
            serving = threads.submit(Crew(theirs, settings, lambda: 1.0).serve)
            ours.sendall(pack(Prefetch([], [])))
            assert told() == Fetched([])
            left.clear()
            task = str(tmp_path / "task").encode()
            ours.sendall(pack(Begin(1, 2, 0, task, "i", "true", "", {}, None, [], None, [])))
            assert told() == Began(1, 2, 0, 1.0)
            (tmp_path / "broken").touch()
        assert isinstance(serving.exception(DEADLINE_S), ContainerFailed)
        for thread in set(threading.enumerate()).difference(others):
            thread.join(DEADLINE_S)
    assert left == ["left"]
