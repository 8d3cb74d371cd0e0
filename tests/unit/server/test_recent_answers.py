"""Answers are given again only while nothing was committed since."""

from __future__ import annotations

from lote.server.recent import KEPT_BODY_MAX, KEPT_MAX, RecentAnswers
from lote.server.request import Answer, Request
from lote.wire.operations import OPERATIONS

BY_NAME = {row.name: row for row in OPERATIONS}


def a_request(
    path="/jobs/j/tasks/t", version="2025-06-01", base_url="http://a", name="get_task", **query
):
    return Request(
        operation=BY_NAME[name],
        params={},
        query=query,
        base_url=base_url,
        path=path,
        api_version=version,
        account="lote",
    )


class Counter:
    """A record with a number of commits, and how often it was read."""

    def __init__(self):
        self.commits = self.reads = 0
        self.recent = RecentAnswers(lambda: self.commits)

    def get(self, request, size=1):
        def read():
            self.reads += 1
            return Answer(body=b"%d" % self.commits * size)

        return self.recent.get(request, read).body


def test_one_read_until_the_next_commit():
    record = Counter()
    assert [record.get(a_request()) for _ in range(3)] == [b"0"] * 3
    assert record.reads == 1
    record.commits = 1
    assert [record.get(a_request()) for _ in range(3)] == [b"1"] * 3
    assert record.reads == 2


def test_whatever_changes_an_answer_is_looked_at():
    record = Counter()
    others = [
        a_request(),
        a_request(path="/jobs/j/tasks/u"),
        a_request(version="2024-02-01.19.0"),
        a_request(base_url="https://a"),
        a_request(select="id"),
        a_request(select="id,state"),
        a_request(path="/pools/p", name="get_pool"),
        a_request(path="/pools/p", name="pool_exists"),
    ]
    for one in others:
        record.get(one)
    assert record.reads == len(others)


def test_a_commit_during_the_read_makes_it_old():
    record = Counter()

    def read():
        record.commits += 1
        return Answer(body=b"before")

    assert record.recent.get(a_request(), read).body == b"before"
    assert record.get(a_request()) == b"1"


def test_it_is_bounded():
    record = Counter()
    for number in range(3 * KEPT_MAX):
        record.get(a_request(path=str(number)))
    assert len(record.recent._kept) == KEPT_MAX
    record.get(a_request(path="large"), size=KEPT_BODY_MAX + 1)
    record.get(a_request(path="large"), size=KEPT_BODY_MAX + 1)
    assert record.reads == 3 * KEPT_MAX + 2
