"""Which user a task runs as; what a task's environment is made of."""

from __future__ import annotations

import os

import pytest

from lote.agent.environment import encode, make_base, task_environment
from lote.agent.layout import Layout
from lote.agent.orders import User
from lote.agent.task_spec import AutoUser, UserIdentity
from lote.agent.users import TASK_USERS, UnknownUser, Users
from lote.wire.frames import Account


def auto(scope: str | None = None, elevation: str | None = None) -> UserIdentity:
    return UserIdentity(auto_user=AutoUser(scope=scope, elevation_level=elevation))


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_users_by_scope_and_elevation(root):
    users = Users(64000)
    pool = (64000, 64000, "_azbatch")
    assert users.assign(None) == users.assign(auto()) == users.assign(auto("pool")) == pool
    assert users.assign(auto("task", "admin")) is None
    first, second = users.assign(auto("task")), users.assign(auto("task"))
    assert first == (64001, 64001, "_azbatchtask_0")
    assert second == (64002, 64002, "_azbatchtask_1")
    users.release(first)
    assert users.assign(auto("task")) == (64003, 64003, "_azbatchtask_2")  # in turn


def test_accounts_are_users_of_their_own(root):
    users = Users(64000)
    users.set_accounts(
        [Account("ann", False), Account("Boss", True), Account("num", False, 64002, 5)]
    )

    def user(name: str) -> User | None:
        return users.assign(UserIdentity(username=name))

    own = 64000 + TASK_USERS + 1
    assert user("ann") == (own, own, "ann")
    assert user("boss") is None
    assert user("num") == (64002, 5, "num")
    with pytest.raises(UnknownUser):
        user("somebody")
    users.assign(auto("task"))
    second = users.assign(auto("task"))
    assert second == (64002, 64002, "_azbatchtask_1")
    users.release(user("num"))  # has the number of a task's user that is at work
    for _ in range(TASK_USERS - 2):
        users.release(users.assign(auto("task")))
    assert users.assign(auto("task")) == (64003, 64003, "_azbatchtask_2")


def test_task_users_come_round_and_skip_those_in_use(root):
    users = Users(64000)
    kept = users.assign(auto("task"))
    for _ in range(TASK_USERS - 1):
        users.release(users.assign(auto("task")))
    assert kept is not None
    again = users.assign(auto("task"))
    assert again is not None
    assert again[0] == kept[0] + 1


def test_without_root_all_are_the_agent(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    users = Users(64000)
    assert users.assign(auto("task")) is None
    users.set_accounts([Account("ann", False, 7, 7)])
    assert users.assign(UserIdentity(username="ann")) is None
    with pytest.raises(UnknownUser):
        users.assign(UserIdentity(username="somebody"))


def test_later_variables_win():
    base = make_base([("PATH", "/job"), ("A", "job"), ("B", "job")], {"AZ_BATCH_X": "1"}, "j")
    found = task_environment(
        base, [("B", "task"), ("AZ_BATCH_X", "task"), ("AZ_BATCH_Y", "own")], b"/d/t", b"/d/t/wd",
        (5, 5, "me"), has_id=True,
    )  # fmt: skip
    assert found == encode(
        {
            "PATH": "/job", "A": "job", "B": "task", "AZ_BATCH_X": "1", "AZ_BATCH_Y": "own",
            "AZ_BATCH_JOB_ID": "j", "AZ_BATCH_TASK_ID": "t", "AZ_BATCH_TASK_DIR": "/d/t",
            "AZ_BATCH_TASK_WORKING_DIR": "/d/t/wd", "HOME": "/d/t/wd", "USER": "me",
            "LOGNAME": "me",
        }.items()
    )  # fmt: skip


def test_task_directories_stay_below_the_root(tmp_path):
    layout = Layout(str(tmp_path))
    assert layout.task_directory("workitems/j/job-1", "t") == f"{layout.root}/workitems/j/job-1/t"
    for job, task in [("workitems/../..", "t"), ("workitems/j", ".."), ("w", ""), ("w", "a/b")]:
        with pytest.raises(ValueError, match="outside"):
            layout.task_directory(job, task)
