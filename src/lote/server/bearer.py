"""Bearer tokens on the data plane: those of trusted issuers, and those of tasks.

A token of an issuer may do everything; a task's token only what concerns its own job, and only
while that run of the task is at work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lote.store.database import Connection
from lote.store.jobs import get_job
from lote.store.records import PLACED, RUNNING
from lote.store.tasks import get_task_by_key
from lote.tokens.task_tokens import PREFIX, TaskGrant, TaskTokens
from lote.tokens.verify import BadToken, TokenVerifier
from lote.wire.errors import Refused

AUDIENCE = "https://batch.core.windows.net/"


class Bearer:
    """Checks tokens. ``audiences``: what they may be meant for, besides the provider's name for
    this service; ``challenge``: where clients get one."""

    def __init__(
        self,
        verifier: TokenVerifier,
        task_tokens: TaskTokens,
        audiences: Sequence[str],
        challenge: str,
    ) -> None:
        self._verifier = verifier
        self._task_tokens = task_tokens
        self._audiences = (AUDIENCE, *audiences)
        self._challenge = challenge

    async def check(self, token: str, scheme: str) -> TaskGrant | None:
        """Whose task's token it is; None for one that may do everything.

        Refuses: AuthenticationFailed (401) for one that is not good, and for any over plain http.
        """
        if scheme != "https":
            raise self._refusal("Bearer tokens are taken over https only.")
        if token.startswith(PREFIX):
            grant = self._task_tokens.read(token)
            if grant is None:
                raise self._refusal("The token is not one of this service.")
            return grant
        try:
            await self._verifier.verify(token, self._audiences)
        except BadToken as bad:
            raise self._refusal(str(bad)) from None
        return None

    def _refusal(self, detail: str) -> Refused:
        challenge = f'Bearer authorization_uri="{self._challenge}", error="invalid_token"'
        return _failed(detail, {"WWW-Authenticate": challenge})


def check_grant(db: Connection, grant: TaskGrant, params: Mapping[str, str]) -> None:
    """Refuses: AuthenticationFailed (401) when the task is not at work any more,
    InsufficientAccountPermissions (403) for anything but its own job."""
    task = get_task_by_key(db, grant.task_key)
    is_at_work = task is not None and PLACED <= task.phase <= RUNNING
    if task is None or not is_at_work or (task.job_key, task.run) != (grant.job_key, grant.run):
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise _failed("The task that the token was for is not at work any more.", challenge)
    job = get_job(db, params["job_id"]) if "job_id" in params else None
    if job is None or job.key != grant.job_key:
        raise Refused(
            "InsufficientAccountPermissions", "A task's token is good for its own job only."
        )


def _failed(detail: str, headers: dict[str, str]) -> Refused:
    values = [("AuthenticationErrorDetail", detail)]
    return Refused("AuthenticationFailed", status=401, headers=headers, values=values)
