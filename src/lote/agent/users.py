"""Which user a task runs as.

With a base B and an agent that is root: B is the pool's non-admin user, B+1 … B+TASK_USERS are
users of a single task each, handed out in turn so that a number comes back late. The group has the
same number. The accounts that the pool names come after those, in their order, unless they ask for
a uid and gid of their own. Admin tasks, and accounts that are raised to admin, stay root. Without a
base, or when the agent isn't root, every task runs as the agent's own user.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from lote.agent.orders import User
from lote.agent.task_spec import UserIdentity
from lote.wire.frames import Account

TASK_USERS = 1000
POOL_USER_NAME = "_azbatch"
TASK_USER_NAME = "_azbatchtask_{}"


class UnknownUser(Exception):
    """A task asks for a named account that this node does not have."""


class Users:
    """Hands out users to tasks. ``uid_base`` None: everything runs as the agent's user."""

    def __init__(self, uid_base: int | None) -> None:
        self._base = uid_base if os.geteuid() == 0 else None
        self._in_use: set[int] = set()
        self._next = 0
        self._accounts: dict[str, User | None] = {}
        self._pool_user: User | None = None
        if self._base is not None:
            self._pool_user = (self._base, self._base, POOL_USER_NAME)

    def set_accounts(self, accounts: Iterable[Account]) -> None:
        """The accounts that tasks may name, all of them."""
        self._accounts = {
            one.name.lower(): self._account_user(index, one) for index, one in enumerate(accounts)
        }

    def assign(self, identity: UserIdentity | None) -> User | None:
        """The user for a task; None is the agent's own. To be given back with ``release``.

        Raises UnknownUser.
        """
        if identity is None:
            return self._pool_user
        if identity.username is not None:
            if identity.username.lower() not in self._accounts:
                raise UnknownUser(identity.username)
            return self._accounts[identity.username.lower()]
        if self._base is None:
            return None
        auto = identity.auto_user
        if auto is not None and auto.elevation_level == "admin":
            return None
        if auto is not None and auto.scope == "task":
            return self._task_user(self._base)
        return self._pool_user

    def release(self, user: User | None) -> None:
        """A task is done with its user."""
        if user is not None and self._base is not None:
            index = user[0] - self._base - 1
            # An account's uid may be any number.
            if 0 <= index < TASK_USERS and user[2] == TASK_USER_NAME.format(index):
                self._in_use.discard(index)

    def _account_user(self, index: int, account: Account) -> User | None:
        if self._base is None or account.is_admin:
            return None
        uid = self._base + 1 + TASK_USERS + index
        if account.uid is None or account.gid is None:
            return (uid, uid, account.name)
        return (account.uid, account.gid, account.name)

    def _task_user(self, base: int) -> User:
        index = self._next
        while index in self._in_use:
            index = (index + 1) % TASK_USERS
        self._in_use.add(index)
        self._next = (index + 1) % TASK_USERS
        uid = base + 1 + index
        return (uid, uid, TASK_USER_NAME.format(index))
