"""Directories that tasks closed to an agent that is not root: they go all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# The agent is the user of its tasks. Everything is imported before the process becomes that user,
# who may not read where it is.
AS_A_USER = """
import asyncio, os, sys
from lote.agent.keeper import Keeper
from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.task_spec import RETENTION_DEFAULT_S
from lote.world import SteppedWorld

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(64000)
    os.setuid(64000)
layout, world = Layout(sys.argv[1] + "/node"), SteppedWorld()
layout.make(None)
jobs = layout.root + "/workitems/"

def add(name, mode):
    began_s = world.now_us() / 1e6
    os.makedirs(jobs + name + "/wd/inner/innermost")
    for part in ("/wd/inner/innermost", "/wd/inner", "/wd", ""):
        directory = jobs + name + part
        open(directory + "/file", "w").close()
        os.utime(directory + "/file", (began_s, began_s))
        os.utime(directory, (began_s, began_s))
        os.chmod(directory, mode)

async def live(act, left):
    keeper = Keeper(layout, world, Log(layout.log, world.now_us))
    keeper.start()
    act(keeper)
    async with asyncio.timeout(60):
        while os.listdir(jobs + "j/job-1") != left or os.listdir(layout.trash):
            await asyncio.sleep(0)
    keeper.close()

def tell(keeper):
    keeper.clean(["workitems/j/job-1/told"])
    keeper.begin_anew(jobs + "j/job-1/named")
    os.chmod(jobs + "j/job-1", 0o555)
    keeper.clean(["workitems/j/job-1/shut"])
    keeper.keep_for(jobs + "j/job-1/due", 1.0)

add("j/job-1/old", 0o555)
add("j/job-1/older", 0)
os.chmod(jobs + "j/job-1", 0)
world.advance(RETENTION_DEFAULT_S + 1)
asyncio.run(live(lambda keeper: None, []))
for name, mode in (("told", 0o555), ("named", 0), ("shut", 0o111), ("due", 0o444)):
    add("j/job-1/" + name, mode)
try:
    os.rename(jobs + "j/job-1/told", layout.trash + "/told")
except PermissionError:
    print("refused")
asyncio.run(live(tell, ["due"]))
world.advance(2)
os.chmod(jobs + "j/job-1", 0o555)
asyncio.run(live(lambda keeper: None, []))
print("all gone")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's: another user must be able to pass through.
    made = Path(tempfile.mkdtemp(prefix="lote-agent-"))
    if os.geteuid() == 0:
        os.chown(made, 64000, 64000)
    yield made
    shutil.rmtree(made)


def test_what_tasks_closed_goes_when_its_time_has_come_or_it_is_told(folder):
    command = [sys.executable, "-c", AS_A_USER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n"), done.stderr) == (["refused", "all gone", ""], "")
