"""The agent's log: one line per change of state, fields as ``name=value``, bounded in size."""

from __future__ import annotations

import os
from collections.abc import Callable

from lote.agent.disk import is_disk_full
from lote.agent.work import Work

LOG_BYTES_MAX = 4 * 1024 * 1024  # then the file begins anew and one old one is kept


class Log:
    """Appends to one file. Never given secrets: no command lines, URLs or environments."""

    def __init__(self, path: str, now_us: Callable[[], int]) -> None:
        self._path = path
        self._now_us = now_us
        self._size_bytes = 0
        self._descriptor = -1
        self._lines: list[str] = []
        self._open()

    def event(self, event: str, **fields: object) -> None:
        """One thing that happened."""
        line = f"time_us={self._now_us()} event={event}"
        for name, value in fields.items():
            line += f" {name}={value}"
        self._lines.append(line)

    def task_ended(self, work: Work) -> None:
        """The end of a run; written here and not field by field, as it comes with every task."""
        code = work.failure.code if work.failure is not None else "none"
        self._lines.append(
            f"time_us={self._now_us()} event=task_ended job={work.job.job_id} task={work.spec.id}"
            f" run={work.run} exit_code={work.exit_code} failure={code} retries={work.retries}"
        )

    def flush(self) -> None:
        """Write what was gathered: one system call for many lines."""
        if not self._lines:
            return
        text = "\n".join([line.replace("\n", "\\n") for line in self._lines]) + "\n"
        self._lines.clear()
        if self._size_bytes > LOG_BYTES_MAX:
            os.close(self._descriptor)
            os.replace(self._path, f"{self._path}.1")
            self._open()
        try:
            self._size_bytes += os.write(self._descriptor, text.encode(errors="replace"))
        except OSError as error:
            if not is_disk_full(error):
                raise

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size_bytes = os.fstat(self._descriptor).st_size
