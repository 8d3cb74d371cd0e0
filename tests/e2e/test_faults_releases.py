"""Server or agent die while a node is released: the job ends all the same."""

from __future__ import annotations

import os
import signal

import pytest
from harness import lote_service, sh, until

# Begun and done. Where only the agent dies its node is lost, and nobody waits for it.
TIMES = {"server": (1, 1), "agent": (1, 0), "both": (2, 1)}


@pytest.mark.parametrize("victim", TIMES)
def test_killed_in_the_middle_of_a_release(victim):
    with lote_service() as lote:
        gate = lote.folder / "go"
        log = lote.folder / "released"
        log.touch()
        log.chmod(0o666)  # whoever the release runs as
        lote.add_pool(nodes=1)
        lote.wait_for_pool(nodes=1)
        command = f"echo begun >> {log}; while ! test -e {gate}; do sleep 0.05; done"
        command += f"; echo done >> {log}"
        lote.add_job(
            jobPreparationTask={"commandLine": "true"},
            jobReleaseTask={"commandLine": sh(command)},
        )
        lote.add_tasks({"t": "true"})
        lote.wait_for_state("t", "completed")
        lote.call("terminate_job", {}, job_id="j")
        until(lambda: "begun" in log.read_text(), "the release at work")
        agents = list(lote.agents().values())
        if victim != "agent":
            lote.kill()
            lote.check_record()
        if victim != "server":
            for pid in agents:
                os.kill(pid, signal.SIGKILL)
        if victim != "agent":
            lote.start()
        if victim == "both":  # the node comes back under its name, like a machine that rebooted
            until(lambda: log.read_text().count("begun") == 2, "another release")
        if victim != "agent":
            assert lote.call("get_job", job_id="j")["state"] == "terminating"
            gate.touch()
        until(lambda: lote.call("get_job", job_id="j")["state"] == "completed", "the job's end")
        lines = log.read_text().split()
        assert (lines.count("begun"), lines.count("done")) == TIMES[victim]
        lote.check_record()
