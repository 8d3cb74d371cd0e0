"""Many files through few threads: some at a time, so that a task with a hundred thousand files
takes neither the agent's memory nor the turn of other tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from lote.blobs.failure import BlobStopped

BATCH_MAX = 16  # files; handing work to a thread costs as much as half a small file
BATCHES_AHEAD = 24  # of one task: handed out and not done
FILES_ALONE = 8  # the first ones go one by one, so that few files use all threads too

T = TypeVar("T")


def in_batches(files: Iterable[T], is_small: Callable[[T], bool]) -> Iterator[list[T]]:
    """Small files in groups, all others alone; groups grow as there turn out to be many."""
    group: list[T] = []
    count = 0
    for one in files:
        if not is_small(one):
            yield [one]
            continue
        count += 1
        group.append(one)
        if len(group) >= min(BATCH_MAX, count // FILES_ALONE):
            yield group
            group = []
    if group:
        yield group


def work_off(
    batches: Iterable[list[T]],
    submit: Callable[[list[T]], Future[None]],
    on_failure: Callable[[], None],
) -> None:
    """Have all batches done, a bounded number at once. Raises what the first to fail raised.

    ``on_failure`` is called then, to make those under way end soon; they are over at the return.
    """
    under_way: set[Future[None]] = set()
    try:
        for batch in batches:
            under_way.add(submit(batch))
            if len(under_way) >= BATCHES_AHEAD:
                under_way = _wait_for_some(under_way)
        while under_way:
            under_way = _wait_for_some(under_way)
    except BaseException:
        on_failure()
        raise
    finally:
        for future in under_way:
            future.cancel()
        wait(under_way)


def _wait_for_some(under_way: set[Future[None]]) -> set[Future[None]]:
    """Wait until something is done; gives what is not. Raises what it raised."""
    done, left = wait(under_way, return_when=FIRST_COMPLETED)
    errors = [error for one in done if (error := one.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, BlobStopped))  # a cause before its effects
    if errors:
        raise errors[0]
    return left
