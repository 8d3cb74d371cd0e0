"""`lote why`: one line a reason."""

from __future__ import annotations

from lote.cli.why import lines_of


def test_reasons_with_the_tasks_they_name():
    reasons = [
        {"code": "blocked", "text": "It failed.", "tasks": ["a", "1-5"]},
        {"code": "job_disabled", "text": "The job is not active."},
    ]
    shown = lines_of({"state": "active", "reasons": reasons})
    assert shown == ["It failed. (a, 1-5)", "The job is not active."]


def test_a_task_that_nothing_keeps():
    assert lines_of({"state": "running", "reasons": []}) == ["The task is running."]
