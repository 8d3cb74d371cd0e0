"""A spawner: a small single-threaded process that starts, watches and ends tasks' processes.

It waits in one poll for words of the talker, orders in the shared queue (only while it has a free
slot) and ends of children. It adopts its tasks' orphans, so "no children left" is one system call
and means that nothing of any task is left. When the talker goes, everything it runs goes.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, cast

from lote.agent import linux, orders, tree
from lote.agent.environment import Base
from lote.agent.launch import LaunchFailed, launch
from lote.agent.orders import Note, Order, Trouble

if TYPE_CHECKING:
    from resource import struct_rusage

START_NOTE_DELAY_MS = 5  # a start is worth a message of its own only if the end is not near
NOTES_MAX = 8  # ends kept back while more orders wait
SWEEP_INTERVAL_MS = 10  # between looks at a tree that is being killed
RECEIVE_BYTES = 1 << 18
# The talker died; the kernel sends the second (and SIGCONT) if this process was stopped then.
LEAVE_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Attempt:
    """A process of a task and, until they are gone, its descendants."""

    __slots__ = (
        "directory",
        "doomed",
        "end_s",
        "is_queued",
        "kernel_s",
        "key",
        "lingers",
        "number",
        "pid",
        "read_blocks",
        "run",
        "start_s",
        "start_ticks",
        "status",
        "user_s",
        "write_blocks",
    )  # fmt: skip

    def __init__(
        self, order: Order, pid: int, start_s: float, *, is_queued: bool, lingers: bool
    ) -> None:
        self.key, self.run, self.number = order[0], order[1], order[2]
        self.directory = order[4]
        self.pid = pid
        self.start_s = start_s
        self.is_queued = is_queued  # counts against this spawner's slots
        self.lingers = lingers  # what it leaves behind lives on if it succeeds
        self.start_ticks: int | None = None
        self.status: int | None = None
        self.end_s = 0.0
        self.user_s = 0.0
        self.kernel_s = 0.0
        self.read_blocks = self.write_blocks = 0
        self.doomed = False

    def add_use(self, usage: struct_rusage) -> None:
        """Count what one of its processes used, with those that this has waited for."""
        self.user_s += usage.ru_utime
        self.kernel_s += usage.ru_stime
        self.read_blocks += usage.ru_inblock
        self.write_blocks += usage.ru_oublock

    def add_use_of(self, other: Attempt) -> None:
        """Count what another attempt of its run used."""
        self.user_s += other.user_s
        self.kernel_s += other.kernel_s
        self.read_blocks += other.read_blocks
        self.write_blocks += other.write_blocks


class Spawner:
    """The loop's state. ``clock`` gives seconds on the machine's monotonic clock."""

    def __init__(
        self, link: socket.socket, queue: socket.socket, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._queue = queue
        self._clock = clock
        self._unpacker = orders.Unpacker()
        self._bases: dict[int, Base] = {}
        self._live: dict[int, Attempt] = {}  # by process id, until its whole tree is gone
        self._lingering: list[Attempt] = []  # ended well; what they left is still to be ended
        self._notes: list[Note] = []
        self._unsent_starts: list[Attempt] = []
        self._slots = 0
        self._slots_used = 0
        self._doomed = 0
        self._immune: set[int] = set()  # children that this user may not kill
        self._signals = linux.open_signalfd((signal.SIGCHLD, *LEAVE_SIGNALS))
        self._poll_busy = select.poll()
        self._poll_free = select.poll()
        for poll in (self._poll_busy, self._poll_free):
            poll.register(link, select.POLLIN)
            poll.register(self._signals, select.POLLIN)
        self._poll_free.register(queue, select.POLLIN)

    def serve(self) -> NoReturn:
        """Work until the talker is gone, then kill what runs."""
        link, signals = self._link.fileno(), self._signals
        while True:
            poll = self._poll_free if self._slots_used < self._slots else self._poll_busy
            ready = poll.poll(self._timeout_ms())
            if not ready and (self._unsent_starts or self._notes):
                self._flush()
            for descriptor, _ in ready:
                if descriptor == signals:
                    if not self._read_signals():
                        self._leave()
                elif descriptor == link and not self._read_link():
                    self._leave()
            if self._doomed:
                self._sweep_doomed()
            more = True
            while more and self._slots_used < self._slots:
                more = self._begin_next()
            if self._notes and (not more or len(self._notes) >= NOTES_MAX):
                self._flush()

    def _timeout_ms(self) -> int | None:
        if self._doomed:
            return SWEEP_INTERVAL_MS
        return START_NOTE_DELAY_MS if self._unsent_starts or self._notes else None

    # -- words of the talker ----------------------------------------------------------------

    def _read_link(self) -> bool:
        try:
            chunk = self._link.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        for word in self._unpacker.feed(chunk):
            self._obey(word)
        return bool(chunk)

    def _obey(self, word: tuple[object, ...]) -> None:
        match word:
            case (orders.CAP, int(slots)):
                self._slots = slots
            case (orders.BASE, int(base_id), dict(under), dict(over)):
                self._bases[base_id] = (under, over)
            case (orders.FORGET, int(base_id)):
                self._bases.pop(base_id, None)
            case (orders.RUN, tuple(order)):
                self._begin(cast(Order, order), is_queued=False)
            case (orders.COORDINATE, tuple(order)):
                self._begin(cast(Order, order), is_queued=False, lingers=True)
            case (orders.KILL, int(key), int(run)):
                for attempt in (*self._live.values(), *self._lingering):
                    if attempt.key == key and attempt.run == run:
                        self._doom(attempt)
            case _:
                raise ValueError(f"not a word of the talker: {word[:1]}")

    # -- beginning --------------------------------------------------------------------------

    def _begin_next(self) -> bool:
        order = orders.take_order(self._queue)
        if order is None:
            return False
        self._begin(order, is_queued=True)
        return True

    def _begin(self, order: Order, *, is_queued: bool, lingers: bool = False) -> None:
        while order[3] not in self._bases:  # sent before the order, but by the other way
            select.select([self._link], [], [])
            if not self._read_link():
                self._leave()
        start_s = self._clock()
        try:
            pid = launch(order, self._bases[order[3]])
        except LaunchFailed as failed:
            self._note_failed(order, start_s, failed.trouble)
            return
        attempt = Attempt(order, pid, start_s, is_queued=is_queued, lingers=lingers)
        self._live[pid] = attempt
        self._unsent_starts.append(attempt)
        if is_queued:
            self._slots_used += 1

    def _note_failed(self, order: Order, start_s: float, trouble: Trouble) -> None:
        key, run, number = order[0], order[1], order[2]
        end_s = self._clock()
        left = [one for one in self._lingering if (one.key, one.run) == (key, run)]
        for one in left:
            self._doom(one)  # the run is over, so is what its coordination left
        self._notes.append(
            (
                orders.ENDED, key, run, number, start_s, end_s, None,
                sum(one.user_s for one in left), sum(one.kernel_s for one in left), trouble,
                sum(one.read_blocks for one in left), sum(one.write_blocks for one in left),
            )
        )  # fmt: skip

    # -- ending -----------------------------------------------------------------------------

    def _read_signals(self) -> bool:
        """Take the signals and reap; False when it is time to leave."""
        records = self._take_records()
        for offset in range(0, len(records), 128):  # signalfd_siginfo: number first
            if records[offset] in LEAVE_SIGNALS:
                return False
        self._reap()
        return True

    def _take_records(self) -> bytes:
        try:
            return os.read(self._signals, 4096)
        except BlockingIOError:
            return b""

    def _reap(self) -> None:
        ended = []
        childless = False
        while True:
            wanted, heir = self._next_orphan() if self._lingering else (-1, None)
            try:
                pid, status, usage = os.wait4(wanted, os.WNOHANG)
            except ChildProcessError:
                childless = True
                break
            if not pid:
                break
            self._immune.discard(pid)
            attempt = self._live.get(pid)
            if attempt is not None:  # else an orphan that we had adopted
                attempt.status = status
                attempt.end_s = self._clock()
                attempt.add_use(usage)
                if attempt.lingers and not attempt.doomed and status == 0:
                    self._let_linger(attempt)  # before what it left, which may have ended too
                else:
                    ended.append(attempt)
            elif heir is not None:
                heir.add_use(usage)
        for attempt in ended:
            if childless or not self._strays(attempt):
                self._finish(attempt)
            else:
                self._doom(attempt)

    def _next_orphan(self) -> tuple[int, Attempt | None]:
        """The process to reap next, and the attempt that left it running if it was a coordination:
        what that leaves behind does the work. As a zombie it still has its session."""
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return -1, None
        process = None if found is None else tree.read_process(found.si_pid)
        if process is None:
            return -1, None
        owner = self._live.get(process.session)
        for one in self._lingering:
            if process.session == one.pid or (owner is not None and _is_same_run(owner, one)):
                return process.pid, one
        # Who left the session is of the only run that may leave anything running, as a rule.
        return process.pid, self._lingering[0] if owner is None else None

    def _let_linger(self, attempt: Attempt) -> None:
        """It succeeded: its descendants live until its run is killed, or its next attempt ends."""
        del self._live[attempt.pid]
        if attempt in self._unsent_starts:
            self._unsent_starts.remove(attempt)
        self._lingering.append(attempt)
        self._notes.append(
            (orders.COORDINATED, attempt.key, attempt.run, attempt.number, attempt.end_s)
        )

    def _finish(self, attempt: Attempt) -> None:
        if self._lingering:
            self._forget_lingering(attempt)
        if self._live.get(attempt.pid) is attempt:
            del self._live[attempt.pid]
        if attempt.is_queued:
            self._slots_used -= 1
        if attempt.doomed:
            self._doomed -= 1
        if self._unsent_starts and attempt in self._unsent_starts:
            self._unsent_starts.remove(attempt)  # the end says it too
        self._notes.append(
            (
                orders.ENDED, attempt.key, attempt.run, attempt.number, attempt.start_s,
                attempt.end_s, attempt.status, attempt.user_s, attempt.kernel_s, None,
                attempt.read_blocks, attempt.write_blocks,
            )
        )  # fmt: skip

    def _forget_lingering(self, ended: Attempt) -> None:
        """Nothing of a run is left: neither of its coordination."""
        for one in [one for one in self._lingering if _is_same_run(one, ended)]:
            self._lingering.remove(one)
            if one is not ended:
                ended.add_use_of(one)
                self._doomed -= one.doomed

    def _doom(self, attempt: Attempt) -> None:
        if not attempt.doomed:
            attempt.doomed = True
            self._doomed += 1

    def _sweep_doomed(self) -> None:
        for attempt in [one for one in self._live.values() if one.doomed]:
            self._sweep(attempt)
        live = list(self._live.values())
        for attempt in [one for one in self._lingering if one.doomed]:
            if not any(_is_same_run(attempt, one) for one in live):  # else it ends with that
                self._sweep(attempt)
        self._reap()

    def _sweep(self, attempt: Attempt) -> None:
        strays = self._strays(attempt)
        if attempt.status is None:
            strays.append(attempt.pid)
        elif not strays:
            self._finish(attempt)
            return
        self._immune |= tree.kill_all(tree.with_descendants(strays))

    def _strays(self, attempt: Attempt) -> list[int]:
        """Children of ours that are no task's first process and belong to this attempt."""
        found = []
        for pid in tree.own_children():
            if pid in self._immune or (pid in self._live and self._live[pid].status is None):
                continue
            process = tree.read_process(pid)
            if process is not None and process.state != "Z" and self._owner_is(attempt, process):
                found.append(pid)
        return found

    def _owner_is(self, attempt: Attempt, process: tree.Process) -> bool:
        owner = self._live.get(process.session)
        if owner is not None:
            return owner is attempt
        for one in self._lingering:
            if one.pid == process.session:
                return _is_same_run(one, attempt)
        environment = tree.read_environment(process.pid)
        for one in (*self._live.values(), *self._lingering):
            if tree.task_marker(one.directory) in environment:
                return one is attempt or _is_same_run(one, attempt)
        # It left the session and its environment. It can be only of an attempt that was there
        # before it; once no other such attempt is alive, it is this one's.
        return not any(
            one is not attempt and one.status is None and self._began_before(one, process)
            for one in self._live.values()
        ) and all(_is_same_run(one, attempt) for one in self._lingering)

    def _began_before(self, attempt: Attempt, process: tree.Process) -> bool:
        first = tree.read_process(attempt.pid)
        return first is not None and first.start_ticks <= process.start_ticks

    # -- notes ------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send starts that are still true, then ends."""
        started: list[Note] = [
            (orders.STARTED, one.key, one.run, one.number, one.start_s)
            for one in self._unsent_starts
        ]
        message = orders.pack(tuple(started + self._notes))
        self._unsent_starts.clear()
        self._notes.clear()
        try:
            _send_whole(self._link, message)
        except (BrokenPipeError, ConnectionResetError):
            self._leave()

    def _leave(self) -> NoReturn:
        """Kill all that is below this process and end."""
        while True:
            try:
                while os.wait4(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                os._exit(0)
            children = tree.own_children()
            if self._immune.issuperset(children):
                os._exit(0)
            self._immune |= tree.kill_all(tree.with_descendants(children))
            select.select([self._signals], [], [], SWEEP_INTERVAL_MS / 1000)
            self._take_records()


def _is_same_run(one: Attempt, other: Attempt) -> bool:
    return (one.key, one.run) == (other.key, other.run)


def _send_whole(link: socket.socket, message: bytes) -> None:
    rest = memoryview(message)
    while rest:
        try:
            rest = rest[link.send(rest) :]
        except BlockingIOError:
            select.select([], [link], [])


def _close_if_open(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:  # the listing's own descriptor
            raise


def run_spawner(link: socket.socket, queue: socket.socket, clock: Callable[[], float]) -> NoReturn:
    """The life of a spawner's process, just forked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *LEAVE_SIGNALS})
    linux.die_with_parent(signal.SIGTERM)
    linux.adopt_orphans()
    linux.hide_memory()
    # A terminal's Ctrl-C is for the talker. Not a session of its own: by the agent's session the
    # engine knows spawners that outlive it.
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor, inheritable=True)
    for name in os.listdir("/proc/self/fd"):  # whatever the agent was started with
        if int(name) > 2 and int(name) not in (link.fileno(), queue.fileno()):
            _close_if_open(int(name))
    os.umask(0o022)
    if os.geteuid() == 0:
        os.setgroups([])
    gc.freeze()
    gc.disable()  # nothing here is cyclic
    try:
        Spawner(link, queue, clock).serve()
    except Exception:
        import traceback

        # The talker tells people, and sweeps up what this process leaves behind.
        _send_whole(link, orders.pack(((orders.BROKEN, traceback.format_exc()),)))
    os._exit(1)
