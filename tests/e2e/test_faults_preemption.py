"""The server dies while a task is being taken off its node: it runs again, and has not failed."""

from __future__ import annotations

import os
import signal

from harness import Ledger, lote_service, until


def test_killed_while_a_task_is_taken_off():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        gate = lote.folder / "go"
        lote.add_pool(nodes=1, slots=1)
        lote.wait_for_pool(nodes=1)
        lote.add_job("low", allowTaskPreemption=True)
        lote.add_job("high", priority=1)
        wait = f"while ! test -e {gate}; do sleep 0.05; done"
        lote.add_tasks({"l": ledger.line(wait)}, "low")
        lote.wait_for_state("l", "running", "low")
        until(lambda: ledger.runs()["l"] == 1, "the task at work")
        (agent,) = lote.agents().values()
        os.kill(agent, signal.SIGSTOP)  # it hears of nothing
        lote.add_tasks({"h": ledger.line()}, "high")
        until(lambda: lote.events("task_preempted"), "the task to be taken off")
        lote.kill()
        lote.check_record()
        os.kill(agent, signal.SIGCONT)
        lote.start()
        lote.wait_for_end("h", "high")
        gate.touch()
        info = lote.wait_for_end("l", "low")
        assert info["result"] == "success"
        assert info["requeueCount"] == 1
        assert ledger.runs() == {"l": 2, "h": 1}
        lote.check_record()
