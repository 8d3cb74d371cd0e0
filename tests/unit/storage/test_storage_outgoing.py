"""Contents on their way to a client that leaves."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lote.storage.block import Part
from lote.storage.buffers import BUFFER_BYTES, Buffers
from lote.storage.contents import Contents
from lote.storage.digests import Digests
from lote.storage.outgoing import Outgoing, Sender
from lote.world import World


class SlowDepot:
    """What a sender needs of a depot; from the third reading on, the disk waits for ``gate``."""

    def __init__(self, folder, free_calls):
        self._free_calls = free_calls
        self.contents = Contents(folder, World())
        self.contents.prepare(1)
        self.buffers = Buffers(2)
        self.gate = threading.Event()
        self.failures = []
        self.readings = 0
        self._threads = ThreadPoolExecutor(2)

    def run(self, work):
        self.readings += 1
        waits = self.readings > self._free_calls

        def watched():
            if waits:
                assert self.gate.wait(20)
            try:
                return work()
            except OSError as error:
                self.failures.append(error)
                raise

        return asyncio.get_running_loop().run_in_executor(self._threads, watched)

    def unpin(self, contents):
        self.unpinned = contents

    def close(self):
        self.gate.set()
        self._threads.shutdown()


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_is_open_as_long_as_somebody_reads_it(tmp_path, is_whole):
    depot = SlowDepot(tmp_path / "contents", 2 if is_whole else 3)  # a part's file is opened too
    made = depot.contents.create(Digests())
    buffer = depot.buffers.take()
    for _ in range(5):
        made.write(buffer, BUFFER_BYTES)
    made.finish()

    async def leave_early():
        sender, end = Sender(depot), 5 * BUFFER_BYTES
        descriptor = os.open(made.path, os.O_RDONLY) if is_whole else None
        part = Part(0, end, 7, made.name)
        outgoing = Outgoing(None, 0, end, None, descriptor, () if is_whole else (part,))
        stream = sender.stream(outgoing)
        for _ in range(2):
            assert len(await anext(stream)) == BUFFER_BYTES
        closing = asyncio.ensure_future(stream.aclose())
        asyncio.get_running_loop().call_later(0.05, depot.gate.set)
        await closing

    asyncio.run(leave_early())
    depot.close()
    assert depot.failures == []


def test_the_size_and_the_parts_of_a_log_are_of_one_version(rig):
    """One that is replaced between the look at its row and at its parts is looked at again."""
    kind = {"x-ms-blob-type": "AppendBlob"}

    def write(*bodies):
        assert rig.put("log", b"", headers=kind).status == 201
        for body in bodies:
            assert rig.put("log", body, query={"comp": "appendblock"}, headers={}).status == 201

    write(b"first" * 10)
    looks = []

    def wanted(found):
        looks.append(found.size)
        if len(looks) == 1:  # in a thread of the reader
            write(b"the second is ", b"longer than the first was" * 10)
        return 0, found.size

    async def read():
        depot = rig.app._depot
        depot.glance = depot.read
        sender = Sender(depot)
        outgoing = await sender.find(("acct", "box"), b"log", wanted)
        return b"".join([chunk async for chunk in sender.stream(outgoing)])

    assert asyncio.run(read()) == b"the second is " + b"longer than the first was" * 10
    assert looks == [50, 264]
