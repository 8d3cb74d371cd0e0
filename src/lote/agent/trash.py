"""Directories on their way out: their names are free at once, their files go in the background.

An agent that is not root is the same user as its tasks. These may close directories to it, which
is no reason to keep these, and none to end.
"""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from lote.agent.log import Log
from lote.world import World


class Trash:
    """Takes directories of one file system into ``folder``, and removes what is there."""

    def __init__(self, folder: str, world: World, log: Log) -> None:
        self._folder = folder
        self._world = world
        self._log = log
        self._remover = ThreadPoolExecutor(1, "remover")
        self._taken = 0

    def empty(self) -> None:
        """Remove what an earlier life left, in the background."""
        self._remover.submit(self._remove_all)

    def close(self) -> None:
        """Stop; what is left is removed by the next life."""
        self._remover.shutdown(wait=False, cancel_futures=True)

    def take(self, directory: str) -> None:
        """Remove a directory, if it is there. Once this returns its name is free, unless even the
        removal is refused, which is logged."""
        self._taken += 1
        trashed = f"{self._folder}/{self._world.now_us()}-{self._taken}"
        try:
            _move(directory, trashed)
        except OSError as error:
            if not os.path.lexists(directory):
                return
            # On a full disk, as a rule. Here and now, however long it takes: the next task may
            # begin there as soon as this returns, and its files must not vanish.
            remove_tree(directory)
            fate = "not_removed" if os.path.lexists(directory) else "removed_in_place"
            name = os.path.basename(directory)
            self._log.event(f"directory_{fate}", directory=name, error=error.strerror)
        else:
            self._remover.submit(remove_tree, trashed)

    def _remove_all(self) -> None:
        for name in os.listdir(self._folder):
            remove_tree(f"{self._folder}/{name}")


def remove_tree(path: str) -> None:
    """Remove what is there, with directories that are closed to us; what can't be removed stays."""
    with suppress(RecursionError):  # deeper than the library goes: it stays
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            with suppress(OSError):
                os.unlink(path)
            return
        open_to_us(path)
        for parent, names, _ in os.walk(path):
            for name in names:
                open_to_us(f"{parent}/{name}")
        shutil.rmtree(path, ignore_errors=True)


def open_to_us(directory: str) -> None:
    """Let the owner of a directory do everything there; nothing if we are not the owner, or if it
    is none."""
    with suppress(OSError):
        mode = os.lstat(directory).st_mode
        if stat.S_ISDIR(mode):
            os.chmod(directory, stat.S_IMODE(mode) | stat.S_IRWXU)


def _move(directory: str, target: str) -> None:
    try:
        os.rename(directory, target)
    except PermissionError:
        # rename(2): what changes is not only both parents but the directory's own "..".
        open_to_us(os.path.dirname(directory))
        open_to_us(directory)
        os.rename(directory, target)
