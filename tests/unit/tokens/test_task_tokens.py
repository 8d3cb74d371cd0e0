"""Tokens of tasks: read by who made them, and by nobody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lote.server.folder import write_private
from lote.tokens.task_tokens import PREFIX, TaskGrant, TaskTokens, open_task_tokens
from lote.world import World

KEYS = st.integers(0, 2**62)
tokens = TaskTokens(b"one secret")


@given(KEYS, KEYS, KEYS)
def test_what_was_made_is_read(job, task, run):
    grant = TaskGrant(job, task, run)
    made = tokens.issue(grant)
    assert tokens.read(made) == grant
    assert TaskTokens(b"another").read(made) is None


@given(KEYS, st.integers(0, 200), st.characters())
def test_a_changed_token_is_none(number, at, character):
    made = tokens.issue(TaskGrant(number, number, number))
    at %= len(made)
    changed = made[:at] + character + made[at + 1 :]
    assert changed == made or tokens.read(changed) is None


@given(st.text())
def test_any_text_is_read_or_none(text):
    assert tokens.read(text) is None
    assert tokens.read(PREFIX + text) is None


def test_the_secret_stays_with_the_folder(tmp_path):
    first = open_task_tokens(tmp_path, World(), write_private)
    made = first.issue(TaskGrant(1, 2, 3))
    assert open_task_tokens(tmp_path, World(), write_private).read(made) == (1, 2, 3)
    assert (tmp_path / "tasks.key").stat().st_mode & 0o077 == 0
