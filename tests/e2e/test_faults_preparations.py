"""Server or agent die while nodes are prepared: nothing begins too early, nothing is lost."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Ledger, lote_service, sh, until

TASKS = 6


@pytest.mark.parametrize("victim", ["server", "agent"])
def test_killed_in_the_middle_of_a_preparation(victim):
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        gate = lote.folder / "go"
        log = lote.folder / "prepared"
        log.touch()
        log.chmod(0o666)  # whoever the preparation runs as
        lote.add_pool(nodes=1, slots=2)
        lote.wait_for_pool(nodes=1)
        command = f"echo begun >> {log}; while ! test -e {gate}; do sleep 0.05; done"
        command += f"; echo done >> {log}"
        lote.add_job(jobPreparationTask={"commandLine": sh(command)})
        after = ledger.line(f"grep -q done {log}")
        lote.add_tasks({f"t{number}": after for number in range(TASKS)})
        lote.wait_for_state("t0", "preparing")
        until(lambda: "begun" in log.read_text(), "the preparation at work")
        if victim == "server":
            lote.kill()
            lote.check_record()
            lote.start()
        else:
            (pid,) = lote.agents().values()
            os.kill(pid, signal.SIGKILL)
            until(lambda: log.read_text().count("begun") == 2, "another preparation")
        assert ledger.runs() == {}
        gate.touch()
        lote.wait_for_counts(active=0, running=0)
        assert lote.counts()["succeeded"] == TASKS
        assert ledger.runs() == {f"t{number}": 1 for number in range(TASKS)}
        begun = log.read_text().count("begun")
        assert begun == (1 if victim == "server" else 2)
        lote.check_record()
