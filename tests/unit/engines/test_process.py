from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lote.engines.process import (
    kill_process,
    list_stats,
    open_process,
    read_command,
    read_environment,
    read_stat,
    reap_process,
)

# Reading a task's environment as root without any capability that lets root trace others, as in a
# container: CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON are taken out of the bounding set (24)
# before the next exec.
UNPRIVILEGED = """
import ctypes, os, sys
if len(sys.argv) == 2:
    for capability in (19, 21, 38):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1], "again"])
import subprocess
from lote.engines.process import read_environment
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"A": "b"}, user=64000, group=64000,
                         extra_groups=[])
try:
    try:
        open(f"/proc/{child.pid}/environ").close()
    except PermissionError:
        print("refused")
    print(read_environment(child.pid))
    print(os.access("/root", os.W_OK))
finally:
    child.communicate()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"MARK": "x=y", "EMPTY": ""}) as cat:
        yield cat


def test_a_process_is_described(child: subprocess.Popen):
    stat = read_stat(child.pid)
    assert stat is not None
    assert (stat.pid, stat.parent, stat.dead) == (child.pid, os.getpid(), False)
    assert stat.session == os.getsid(0)
    assert stat in list(list_stats())
    assert read_command(child.pid) == ["cat"]
    assert read_environment(child.pid) == {b"MARK": b"x=y", b"EMPTY": b""}


def test_a_name_with_parentheses_is_no_trap():
    code = "open('/proc/self/comm', 'w').write(') S (1 2'); print(flush=True); input()"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat is not None
        assert stat.parent == os.getpid()
        process.communicate(b"\n")


def test_a_pid_with_another_start_time_is_another_process(child: subprocess.Popen):
    stat = read_stat(child.pid)
    assert stat is not None
    assert open_process(child.pid, stat.start_ticks + 1) is None
    kill_process(type(stat)(stat.pid, stat.parent, stat.session, stat.start_ticks + 1, False))
    assert child.poll() is None
    kill_process(stat)
    assert child.wait() == -signal.SIGKILL
    assert read_stat(child.pid) is None
    assert read_environment(child.pid) is None
    assert open_process(child.pid, stat.start_ticks) is None
    kill_process(stat)


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("kill -9 $$", -9)])
def test_the_exit_status_is_collected_through_the_descriptor(command: str, status: int):
    process = subprocess.Popen(["/bin/sh", "-c", f"read line; {command}"], stdin=subprocess.PIPE)
    descriptor = os.pidfd_open(process.pid)
    assert reap_process(descriptor) is None, "it has not ended"
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
    assert reap_process(descriptor) == status
    assert reap_process(descriptor) is None, "it is collected once"
    os.close(descriptor)
    process.returncode = status


@pytest.mark.skipif(os.geteuid() != 0, reason="other users' processes need root")
def test_root_without_capabilities_reads_environments_as_their_owner():
    command = [sys.executable, "-c", UNPRIVILEGED, UNPRIVILEGED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["refused", "{b'A': b'b'}", "True"]
