"""The end of a run, as it waits to be reported."""

from __future__ import annotations

import msgspec

from lote.agent.work import Work
from lote.wire.frames import Container, Ended, Failure


class Ending(msgspec.Struct, array_like=True, gc=False):
    """Like the frame ``Ended``, but with moments (monotonic seconds) in place of ages."""

    key: int
    run: int
    start_s: float
    end_s: float
    exit_code: int | None = None
    failure: Failure | None = None
    retries: int = 0
    last_retry_s: float | None = None
    download_us: int = 0
    run_us: int = 0
    upload_us: int = 0
    user_cpu_us: int | None = 0
    kernel_cpu_us: int | None = 0
    wall_us: int = 0
    read_blocks: int | None = 0
    write_blocks: int | None = 0
    container: Container | None = None

    def entry(self, now_s: float) -> Ended:
        """The frame to send now."""
        retry_s = self.last_retry_s
        return Ended(
            self.key,
            self.run,
            max(0, int((now_s - self.start_s) * 1e6)),
            max(0, int((now_s - self.end_s) * 1e6)),
            self.exit_code,
            self.failure,
            self.retries,
            None if retry_s is None else max(0, int((now_s - retry_s) * 1e6)),
            self.download_us,
            self.run_us,
            self.upload_us,
            self.user_cpu_us,
            self.kernel_cpu_us,
            self.wall_us,
            self.read_blocks,
            self.write_blocks,
            self.container,
        )


def ending_of(work: Work, now_s: float) -> Ending:
    """The end that a run has come to."""
    return Ending(
        work.key,
        work.run,
        work.start_s or now_s,
        work.end_s or now_s,
        work.exit_code,
        work.failure,
        work.retries,
        work.last_retry_s,
        work.download_us,
        work.run_us,
        work.upload_us,
        work.user_us,
        work.kernel_us,
        work.wall_us,
        work.read_blocks,
        work.write_blocks,
        work.container,
    )
