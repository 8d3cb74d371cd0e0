"""Many files through few threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lote.agent.batches import BATCH_MAX, BATCHES_AHEAD, in_batches, work_off


def test_batches_grow_and_have_every_file_once():
    sizes = [10] * 1000 + [10**9] + [10] * 100
    batches = list(in_batches(enumerate(sizes), lambda one: one[1] < 1000))
    assert sorted(one for batch in batches for one in batch) == list(enumerate(sizes))
    assert [len(batch) for batch in batches[:8]] == [1] * 8, "few files use all threads"
    assert max(map(len, batches)) == BATCH_MAX
    assert [(1000, 10**9)] in batches


def test_only_some_are_handed_out_at_once():
    taken, gate = [], threading.Event()

    def files():
        for number in range(10_000):
            taken.append(number)
            yield [number]

    done = []
    with ThreadPoolExecutor(4) as pool:

        def work(batch):
            assert gate.wait(20)
            done.extend(batch)

        def submit(batch):
            if len(taken) == BATCHES_AHEAD:
                gate.set()  # as many as are taken before anything is done
            return pool.submit(work, batch)

        work_off(files(), submit, lambda: None)
    assert sorted(done) == list(range(10_000))


def test_the_first_failure_ends_the_rest():
    stop, begun = threading.Event(), []

    def work(batch):
        if stop.is_set():
            return
        begun.append(batch)
        if batch == [5]:
            raise ValueError("five")

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="five"):
        work_off(([n] for n in range(100_000)), lambda batch: pool.submit(work, batch), stop.set)
    assert stop.is_set()
    assert len(begun) < 1000


def test_a_list_that_fails_ends_what_was_begun():
    stop = threading.Event()

    def files():
        yield [1]
        raise ValueError("list")

    ended = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="list"):
        work_off(files(), lambda b: pool.submit(lambda: ended.append(stop.wait(20))), stop.set)
    assert ended == [True]
