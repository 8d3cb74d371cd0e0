"""An agent reduced to what an engine can notice: it reads its line, says Hello, runs and reports.

It lets the local engine be tested apart from the real agent. Its tasks are bare processes with the
marker in their environment; they are not killed when it is killed, so that the engine's own sweep
of survivors has something to find.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading

from websockets.sync.client import ClientConnection, connect

from lote.wire.frames import (
    PROTOCOL,
    Ack,
    Ended,
    Hello,
    Kill,
    Report,
    Runs,
    decode_server_frames,
    encode_frames,
)


class StubAgent:
    def __init__(self, start: dict, socket: ClientConnection) -> None:
        self.start = start
        self.ended: queue.Queue[Ended] = queue.Queue()
        self.acknowledged = threading.Event()
        self.processes: dict[int, subprocess.Popen] = {}
        self.seq = 0
        self.socket = socket

    def talk(self) -> None:
        hello = Hello(
            PROTOCOL, self.start["node_id"], str(os.getpid()), "0", 1, 1, "127.0.0.1", "stub", []
        )
        self.socket.send(encode_frames([hello]))
        threading.Thread(target=self.report, daemon=True).start()
        for message in self.socket:
            for frame in decode_server_frames(message):
                if isinstance(frame, Runs):
                    for run in frame.runs:
                        self.begin(run.key, json.loads(run.spec)["commandLine"])
                elif isinstance(frame, Kill):
                    for key, _ in frame.runs:
                        self.processes[key].kill()
                elif isinstance(frame, Ack):
                    self.acknowledged.set()

    def begin(self, key: int, command: str) -> None:
        root = self.start["node_dir"] + "/tasks"
        environment = {
            "PATH": os.environ["PATH"],
            "AZ_BATCH_NODE_ID": self.start["node_id"],
            "AZ_BATCH_NODE_ROOT_DIR": root,
        }
        process = subprocess.Popen(shlex.split(command), env=environment, start_new_session=True)
        self.processes[key] = process

        def await_end() -> None:
            self.ended.put(Ended(key, 1, 0, 0, process.wait()))

        threading.Thread(target=await_end, daemon=True).start()

    def report(self) -> None:
        while True:
            entry = self.ended.get()
            self.seq += 1
            self.acknowledged.clear()
            self.socket.send(encode_frames([Report(self.seq, [entry])]))
            self.acknowledged.wait()


def end_all(agent: StubAgent) -> None:
    for process in agent.processes.values():
        process.kill()
    os._exit(0)


def run_agent(start: dict) -> None:
    url = start["server_url"].replace("http", "ws", 1) + "/node/channel"
    key = f"Lote {start['node_id']} {start['secret']}"
    with connect(url, additional_headers={"Authorization": key}, compression=None) as socket:
        agent = StubAgent(start, socket)
        signal.signal(signal.SIGTERM, lambda number, frame: end_all(agent))
        agent.talk()


if __name__ == "__main__":
    run_agent(json.loads(sys.stdin.readline()))
