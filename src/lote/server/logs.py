"""Log lines: one event with its fields, on standard error."""

from __future__ import annotations

import logging
import sys

_KNOWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _Fields(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """``time level logger event field=value …``; a traceback follows if there is one."""
        fields = [f"{k}={v}" for k, v in record.__dict__.items() if k not in _KNOWN]
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        head = f"{stamp} {record.levelname.lower()} {record.name} {record.getMessage()}"
        line = " ".join([head, *fields])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logs(level: int = logging.WARNING) -> None:
    """Send the service's log to standard error."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Fields())
    logging.basicConfig(level=level, handlers=[stream], force=True)
