"""A node for a test: a server's side, an agent's process, and a look for survivors at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from channel import Agent, Channel

from lote.agent.tree import read_environment, read_process

Scenario = Callable[[Channel, Agent], Awaitable[None]]


def survivors(root: Path) -> list[int]:
    """Processes of tasks of a node that are still alive."""
    marker = f"AZ_BATCH_NODE_ROOT_DIR={root}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and marker in read_environment(int(name)):
            process = read_process(int(name))
            if process is not None and process.state not in "ZX":
                found.append(int(name))
    return found


class Node:
    """Where a test's agent lives."""

    def __init__(self, folder: Path) -> None:
        self.node_dir = folder / "node"
        self.channel = Channel()

    def drive(
        self, scenario: Scenario, settings: dict[str, Any] | None = None, **setup: Any
    ) -> None:
        """Start server and agent, wait for its Hello, play the scenario, stop both."""
        for name, value in setup.items():
            setattr(self.channel, name, value)

        async def play() -> None:
            async with self.channel.listening():
                agent = Agent(self.channel, self.node_dir, **(settings or {}))
                try:
                    await self.channel.until(lambda: bool(self.channel.hellos))
                    await scenario(self.channel, agent)
                finally:
                    await asyncio.to_thread(agent.stop)

        asyncio.run(play())


@pytest.fixture
def node() -> Iterator[Node]:
    # Not pytest's folder: task users must be able to pass through.
    folder = Path(tempfile.mkdtemp(prefix="lote-agent-"))
    folder.chmod(0o755)
    made = Node(folder)
    yield made
    left = survivors(made.node_dir / "tasks")
    shutil.rmtree(folder)
    assert not left, f"processes outlived their agent: {left}"
