"""`lote storage cp`: what goes where, side by side, and what came of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from lote.blobs.carry import AlreadyThere, BlobPlace, Kind, download_chunks, upload_stream
from lote.cli.storage.accounts import Accounts
from lote.cli.storage.crew import PROBLEMS, Tally, work_through
from lote.cli.storage.names import BadName, Local, Place, Remote, Stream, parse_place, printable
from lote.cli.storage.progress import transfer_bar
from lote.cli.storage.sources import (
    Found,
    LocalFile,
    RemoteBlob,
    find_local,
    find_remote,
)
from lote.cli.storage.spans import human_size
from lote.cli.storage.targets import BadPath, Target, Unclear, check_relative, target_of
from lote.cli.storage.transfers import (
    Watch,
    Wishes,
    copy,
    download,
    guess_type,
    is_folder_mark,
    upload,
)
from lote.world import World

Work = Callable[[Watch], bool]


class Request(NamedTuple):
    """What the command line asks for."""

    sources: list[str]
    target: str
    deep: bool = False
    wishes: Wishes = Wishes()
    create: bool = False
    dry: bool = False
    threads: int = 8
    quiet: bool = False


class Step(NamedTuple):
    """One file or blob, where it goes, and what does it."""

    shown: str
    target: str
    size: int
    work: Work


class Copying:
    """Carries out one request. ``notify`` gets a line for each problem."""

    def __init__(
        self, request: Request, accounts: Accounts, world: World, notify: Callable[[str], None]
    ) -> None:
        self.request = request
        self._accounts = accounts
        self._world = world
        self.tally = Tally(lambda one: notify(f"{one.what}: {one.why}"))
        self._stop = threading.Event()
        self._began = world.monotonic()

    def run(self) -> None:
        """Copy all. Refuses: ``BadName``, ``Unclear``, ``NoSource``, ``NoAccount``, ``BlobError``
        for what concerns the whole; problems of single files are in ``tally``."""
        sources = [parse_place(text) for text in self.request.sources]
        target = parse_place(self.request.target)
        check_operands(sources, target)
        if isinstance(target, Stream) or isinstance(sources[0], Stream):
            self._ensure_container(target)
            self._stream(sources[0], target)
            return
        steps = list(self._plan(sources, target))
        check_distinct(steps)
        if self.request.dry:
            for step in steps:
                print(f"{step.shown} -> {step.target}")
            return
        self._ensure_container(target)
        self._carry_out(steps)

    def _ensure_container(self, target: Place) -> None:
        if isinstance(target, Remote) and self.request.create and not self.request.dry:
            self._accounts.of(target).ensure_container(target.container)

    def summary(self) -> dict[str, Any]:
        """What came of it, for programs: sizes in bytes, ``seconds``."""
        tally = self.tally
        return {
            "copied": tally.done,
            "bytes": tally.bytes,
            "skipped": tally.skipped,
            "failed": len(tally.problems),
            "seconds": round(self._world.monotonic() - self._began, 3),
            "problems": [one._asdict() for one in tally.problems],
        }

    def summary_line(self) -> str:
        """The same for people."""
        facts = self.summary()
        size = facts["bytes"]
        exact = f", {size} bytes" if size >= 1000 else ""
        line = f"{facts['copied']} copied ({human_size(size)}{exact}), {facts['skipped']} skipped"
        return f"{line}, {facts['failed']} failed, in {facts['seconds']:.1f} s"

    def _plan(self, sources: list[Place], place: Place) -> Iterator[Step]:
        assert isinstance(place, Local | Remote)
        target = target_of(place)
        many = len(sources) > 1
        for source in sources:
            if isinstance(source, Local):
                assert isinstance(place, Remote)
                for file in find_local(source, deep=self.request.deep):
                    check_many(file, target, many=many)
                    yield from self._upload_step(file, target, place)
            elif isinstance(source, Remote):
                for blob in find_remote(self._accounts, source, deep=self.request.deep):
                    check_many(blob, target, many=many)
                    yield from self._remote_step(blob, target, place)

    def _upload_step(
        self, found: Found[LocalFile], target: Target, place: Remote
    ) -> Iterator[Step]:
        source = found.source
        if found.problem:
            self.tally.fail(source.shown, found.problem)
            return
        name = target.name_for(found.kind, found.own_name, found.relative)
        at = BlobPlace(self._accounts.of(place), place.container, name)
        shown = printable(place._replace(name=name).shown)
        work = partial(upload, source, at, self.request.wishes)
        yield Step(source.shown, shown, source.size, work)

    def _remote_step(
        self, found: Found[RemoteBlob], target: Target, place: Local | Remote
    ) -> Iterator[Step]:
        source = found.source
        if not found.relative:
            return  # the mark of the source folder itself
        name = target.name_for(found.kind, found.own_name, found.relative)
        if isinstance(place, Remote):
            at = BlobPlace(self._accounts.of(place), place.container, name)
            shown = printable(place._replace(name=name).shown)
            yield Step(
                source.shown, shown, source.size, partial(copy, source, at, self.request.wishes)
            )
            return
        relative = found.relative.rstrip("/") if is_folder_mark(source) else found.relative
        try:
            check_relative(relative)
        except BadPath as error:
            self.tally.fail(source.shown, str(error))
            return
        path = name.rstrip("/")
        work = partial(download, source, path, self.request.wishes)
        yield Step(source.shown, printable(path), source.size, work)

    def _carry_out(self, steps: list[Step]) -> None:
        total = sum(step.size for step in steps)
        wanted = not self.request.quiet
        with transfer_bar(len(steps), total, wanted=wanted) as bar:
            watch = Watch(bar.moved, self._stop, set())

            def one(step: Step) -> None:
                try:
                    self.tally.add(step.work(watch), step.size)
                except PROBLEMS as error:
                    self.tally.fail(f"{step.shown} -> {step.target}", error)
                bar.ended()

            try:
                work_through(steps, one, min(self.request.threads, len(steps) or 1), self._stop)
            finally:
                watch.drop_parts()

    def _stream(self, source: Place, target: Place) -> None:
        with transfer_bar(1, None, wanted=not self.request.quiet) as bar:
            watch = Watch(bar.moved, self._stop, set())
            if isinstance(source, Remote):
                self._to_stdout(source, watch)
            else:
                assert isinstance(target, Remote)
                self._from_stdin(target, watch)

    def _to_stdout(self, source: Remote, watch: Watch) -> None:
        sent = 0
        for found in find_remote(self._accounts, source, deep=False):
            for chunk in download_chunks(found.source.place):
                watch.moved(len(chunk))
                sys.stdout.buffer.write(chunk)
                sent += len(chunk)
            self.tally.add(True, sent)
            sent = 0
        sys.stdout.buffer.flush()

    def _from_stdin(self, target: Remote, watch: Watch) -> None:
        place = BlobPlace(self._accounts.of(target), target.container, target.name)
        wishes, counted = self.request.wishes, Counted(sys.stdin.buffer)
        if self.request.dry:
            print(f"- -> {printable(target.shown)}")
            return
        kind = Kind(wishes.content_type or guess_type(target.name))
        try:
            upload_stream(counted, place, kind, watch.moved, replace=wishes.clobber)
        except AlreadyThere:
            self.tally.add(False)
        else:
            self.tally.add(True, counted.bytes)


class Counted:
    """A stream that counts what is read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.bytes = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        piece = self._source.read(size)
        self.bytes += len(piece)
        return piece


def check_operands(sources: list[Place], target: Place) -> None:
    """Refuses (``BadName``) what makes no copy between here and storage, or within storage."""
    if isinstance(target, Remote) and not target.container:
        raise BadName("the target names no container; say az://CONTAINER/")
    streams = [one for one in (*sources, target) if isinstance(one, Stream)]
    if streams and (len(streams) > 1 or len(sources) > 1):
        raise BadName("- is one blob from or to a pipe, and goes with one other name")
    if isinstance(target, Stream) and not isinstance(sources[0], Remote):
        raise BadName("- as the target needs a blob as the source")
    if any(isinstance(one, Stream) for one in sources) and not (
        isinstance(target, Remote) and target.name and not target.name.endswith("/")
    ):
        raise BadName("- as the source needs the name of a blob as the target")
    here = [one for one in sources if isinstance(one, Local)]
    if here and isinstance(target, Local):
        raise BadName(
            f"{printable(here[0].path)} and {printable(target.path)} are both here;"
            " names in storage begin with az://"
        )


def check_many(found: Found[Any], target: Target, *, many: bool) -> None:
    """Refuses (``Unclear``) several things that would have one name."""
    if (many or found.kind == "match") and not (target.is_folder or target.exists):
        raise Unclear(f"{target.shown}: several things need a folder as target; end it with /")


def check_distinct(steps: list[Step]) -> None:
    """Refuses (``Unclear``) two sources that would be written to one place."""
    seen: dict[str, str] = {}
    for step in steps:
        if step.target in seen:
            other = seen[step.target]
            raise Unclear(f"{other} and {step.shown} would both become {step.target}")
        seen[step.target] = step.shown
