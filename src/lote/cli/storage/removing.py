"""`lote storage rm`: what would go, a question where one is due, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lote.blobs.remote import RemoteAccount
from lote.cli.storage.accounts import Accounts
from lote.cli.storage.crew import PROBLEMS, Tally, work_through
from lote.cli.storage.names import BadName, Remote, parse_remote, printable
from lote.cli.storage.progress import transfer_bar
from lote.cli.storage.sources import find_remote
from lote.cli.storage.spans import human_size


class Doomed(NamedTuple):
    """A blob that goes, or with an empty ``name`` a container."""

    account: RemoteAccount
    container: str
    name: str
    size: int
    shown: str


class Removing:
    """Carries out one command. ``notify`` gets a line for each problem."""

    def __init__(
        self, names: list[str], accounts: Accounts, notify: Callable[[str], None], *, deep: bool
    ) -> None:
        self._places = [parse_remote(text) for text in names]
        self._accounts = accounts
        self._deep = deep
        self.tally = Tally(lambda one: notify(f"{one.what}: {one.why}"))
        self._stop = threading.Event()

    def find(self) -> list[Doomed]:
        """What the names mean now. Refuses: ``BadName``, ``NoSource``, ``Unclear``."""
        found: dict[tuple[str, str, str], Doomed] = {}
        for place in self._places:
            for one in self._of(place):
                found[one.account.reach.endpoint, one.container, one.name] = one
        return list(found.values())

    def _of(self, place: Remote) -> Iterator[Doomed]:
        account = self._accounts.of(place)
        if not place.container:
            raise BadName("an account can't be removed; name a container, as in az://CONTAINER")
        if place.name:
            for found in find_remote(self._accounts, place, deep=self._deep):
                source = found.source
                name = source.entry.name
                yield Doomed(account, place.container, name, source.size, source.shown)
            return
        if not self._deep:
            raise BadName(f"{place.shown}: is a container; -r removes it with all in it")
        size = sum(blob.size for blob in account.blobs(place.container))
        yield Doomed(account, place.container, "", size, place.shown)

    def carry_out(self, doomed: list[Doomed], threads: int, *, quiet: bool) -> None:
        """Remove them; problems of single ones are in ``tally``."""
        with transfer_bar(len(doomed), sum(one.size for one in doomed), wanted=not quiet) as bar:

            def one(what: Doomed) -> None:
                try:
                    remove(what)
                    self.tally.add(True, what.size)
                except PROBLEMS as error:
                    self.tally.fail(what.shown, error)
                bar.moved(what.size)
                bar.ended()

            work_through(doomed, one, min(threads, len(doomed) or 1), self._stop)

    def summary(self) -> dict[str, Any]:
        """What came of it, for programs: sizes in bytes."""
        problems = [one._asdict() for one in self.tally.problems]
        return {
            "removed": self.tally.done,
            "bytes": self.tally.bytes,
            "failed": len(problems),
            "problems": problems,
        }


def remove(what: Doomed) -> None:
    """One blob with its snapshots, or one container."""
    if what.name:
        what.account.delete_blob(what.container, what.name)
    else:
        what.account.delete_container(what.container)


def description(doomed: list[Doomed]) -> str:
    """How much would go, for the question."""
    size = human_size(sum(one.size for one in doomed))
    containers = [printable(one.container) for one in doomed if not one.name]
    blobs = len(doomed) - len(containers)
    words = [f"{blobs} blobs"] if blobs else []
    words += [f"container {name} with all in it" for name in containers]
    return f"{' and '.join(words)} ({size})"
