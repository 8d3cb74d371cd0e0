"""Answers that need not be made again: of single things, as long as nothing was committed since.

Programs that wait for a job or a task ask for it again and again, mostly when nothing has changed.
An answer belongs to the number of commits that were done before it was read, so what comes after
any commit is read anew. For the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from lote.server.request import Answer, Request

KEPT_MAX = 1024  # answers
KEPT_BODY_MAX = 8192  # bytes of each, so 8 MiB in all

# What these show is all in the database: no clock, nothing that only memory has.
FROM_THE_RECORD = frozenset(
    {
        "get_pool",
        "pool_exists",
        "get_job",
        "get_job_task_counts",
        "get_job_schedule",
        "job_schedule_exists",
        "get_task",
    }
)

Key = tuple[str, str, str, str, tuple[tuple[str, str], ...]]


class RecentAnswers:
    """The answers. ``commits`` says how many transactions are committed."""

    def __init__(self, commits: Callable[[], int]) -> None:
        self._commits = commits
        self._kept: dict[Key, tuple[int, Answer]] = {}

    def get(self, request: Request, read: Callable[[], Answer]) -> Answer:
        """The answer to a request: one that still holds, or what ``read`` finds."""
        before = self._commits()
        key = (
            request.operation.name,  # a HEAD has the same path as its GET
            request.path,
            request.base_url,
            request.api_version,
            tuple(request.query.items()),
        )
        kept = self._kept.get(key)
        if kept is not None and kept[0] == before:
            return kept[1]
        answer = read()
        if answer.body is None or len(answer.body) <= KEPT_BODY_MAX:
            if kept is None and len(self._kept) >= KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = before, answer
        return answer
