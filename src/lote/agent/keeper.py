"""Task directories at rest: kept for their retention time, removed when nobody needs them.

A short task with the default retention leaves no trace here: a look through the directories, now
and then, finds those that are old enough. What ran for long, whose files may be older than its end,
and other retention times are remembered, on disk too. What is in use stays: its time begins anew
when it comes to rest.
"""

from __future__ import annotations

import asyncio
import heapq
import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from lote.agent.disk import is_disk_full
from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.task_spec import RETENTION_DEFAULT_S
from lote.agent.trash import Trash, open_to_us
from lote.world import World

SCAN_INTERVAL_S = 6 * 3600.0  # of directories with the default retention
DUE_INTERVAL_MAX_S = 3600.0  # timers of years are cut short
LONG_S = 3600.0  # files of attempts that lasted longer say too little about when they ended
JOB_DEPTH = 2  # slashes in ``workitems/<job>/<job-n>``
_DECODER = msgspec.json.Decoder(tuple[int, str])


class Keeper:
    """Removes task directories: when told, and when their time has come."""

    def __init__(self, layout: Layout, world: World, log: Log) -> None:
        self._layout = layout
        self._world = world
        self._log = log
        self.in_use: Callable[[], set[str]] = set
        """The task directories that are not at rest."""
        self._due: list[tuple[int, str]] = []  # heap of (due_us, directory)
        self._latest: dict[str, int] = {}  # due_us that counts, as a rerun renews it
        self._timer: asyncio.TimerHandle | None = None
        self._scan_timer: asyncio.TimerHandle | None = None
        self._tell_empty: Callable[[], None] | None = None
        self._trash = Trash(layout.trash, world, log)

    def start(self) -> None:
        """Take over what an earlier life left, and begin to watch; on the running loop."""
        self._load()
        self._trash.empty()
        self._scan()
        self._arm()

    def close(self) -> None:
        """Stop; what is in the trash is removed by the next life."""
        for timer in (self._timer, self._scan_timer):
            if timer is not None:
                timer.cancel()
        self._trash.close()

    def keep_for(self, directory: str, retention_s: float, lasted_s: float = 0.0) -> None:
        """A task directory came to rest; it may go after this many seconds. ``lasted_s``: how long
        it was at work."""
        is_plain = retention_s == RETENTION_DEFAULT_S and lasted_s < LONG_S
        if is_plain and directory not in self._latest:
            return
        due_us = self._world.now_us() + int(retention_s * 1e6)
        self._latest[directory] = due_us
        heapq.heappush(self._due, (due_us, directory))
        try:
            with open(self._layout.retention, "ab") as target:
                target.write(b"\n" + msgspec.json.encode((due_us, directory)) + b"\n")
        except OSError as error:
            self._bear(error)
        self._arm()

    def begin_anew(self, directory: str) -> None:
        """A task comes that no node had before: what has its directory is another's, that was
        deleted while nobody could tell this node."""
        if os.path.lexists(directory):
            self._remove(directory)

    def await_empty(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called once no task directory is left, now perhaps."""
        self._tell_empty = tell
        self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self._tell_empty is None or _task_directories(f"{self._layout.root}/workitems"):
            return
        tell, self._tell_empty = self._tell_empty, None
        tell()

    def clean(self, directories: list[str]) -> None:
        """Remove directories, relative to the root; their names are free at once."""
        root = self._layout.root
        for relative in directories:
            directory = f"{root}/{relative}"
            if os.path.normpath(directory) != directory or not relative.startswith("workitems/"):
                self._log.event("clean_refused", directory=relative)
                continue
            self._remove(directory)
            if relative.count("/") == JOB_DEPTH:
                with suppress(OSError):  # another job of its schedule is there
                    os.rmdir(os.path.dirname(directory))
        self._look_whether_empty()

    def _remove(self, directory: str) -> None:
        if os.path.dirname(os.path.realpath(directory)) != os.path.dirname(directory):
            return  # a link on the way: not ours
        self._trash.take(directory)
        self._latest.pop(directory, None)

    def _bear(self, error: OSError) -> None:
        """A full disk is no reason to end; anything else is. Raises the error."""
        if not is_disk_full(error):
            raise error
        self._log.event("retention_not_kept", error=error.strerror)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay_s = (self._due[0][0] - self._world.now_us()) / 1e6
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                min(max(delay_s, 0.0), DUE_INTERVAL_MAX_S), self._remove_due
            )

    def _remove_due(self) -> None:
        now_us = self._world.now_us()
        in_use = self.in_use()
        while self._due and self._due[0][0] <= now_us:
            due_us, directory = heapq.heappop(self._due)
            if self._latest.get(directory) != due_us:
                continue
            if directory in in_use:
                del self._latest[directory]
            else:
                self._log.event("retention_over", directory=os.path.basename(directory))
                self._remove(directory)
        self._save()
        self._arm()
        self._look_whether_empty()

    def _load(self) -> None:
        try:
            with open(self._layout.retention, "rb") as source:
                lines = source.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        for line in lines:
            try:
                due_us, directory = _DECODER.decode(line)
            except msgspec.DecodeError:
                continue  # torn by a full disk
            self._latest[directory] = due_us
        self._due = [(due_us, directory) for directory, due_us in self._latest.items()]
        heapq.heapify(self._due)

    def _save(self) -> None:
        kept = [msgspec.json.encode((due, name)) + b"\n" for name, due in self._latest.items()]
        temporary = f"{self._layout.retention}.new"
        try:
            with open(temporary, "wb") as target:
                target.write(b"".join(kept))
            os.replace(temporary, self._layout.retention)
        except OSError as error:
            self._bear(error)

    def _scan(self) -> None:
        """Look for directories with the default retention whose time is over."""
        oldest_s = self._world.now_us() / 1e6 - RETENTION_DEFAULT_S
        spared = self.in_use() | self._latest.keys()
        for directory in _task_directories(f"{self._layout.root}/workitems"):
            if directory not in spared and _last_change_s(directory) < oldest_s:
                self._remove(directory)
        self._look_whether_empty()
        loop = asyncio.get_running_loop()
        self._scan_timer = loop.call_later(SCAN_INTERVAL_S, self._scan)


def _task_directories(workitems: str) -> list[str]:
    """``workitems/<job>/<job-n>/<task>``: three levels down."""
    level = [workitems]
    for _ in range(3):
        level = [path for directory in level for path in _directories_in(directory)]
    return level


def _directories_in(directory: str) -> list[str]:
    """Those of a job, or of its schedule; none when it has gone."""
    if not os.access(directory, os.R_OK | os.X_OK):
        open_to_us(directory)  # a task of our own user closed it
    with suppress(OSError), os.scandir(directory) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _last_change_s(directory: str) -> float:
    """When something changed last in a task directory, as far as its first level tells, or the
    directory itself where it is closed."""
    times = [0.0]
    with suppress(OSError):
        times.append(os.stat(directory).st_mtime)
        with os.scandir(directory) as entries:
            times.extend(entry.stat(follow_symlinks=False).st_mtime for entry in entries)
    return max(times)
