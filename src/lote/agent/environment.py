"""The environment of tasks: what the job says, what the task says, what the service says.

Later wins: base, job, task, then the service's own variables, which nobody overrides.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lote.agent.command_line import DEFAULT_PATH
from lote.agent.orders import User

if TYPE_CHECKING:  # spawners load this module, and need neither
    from lote.agent.layout import Layout
    from lote.wire.frames import JobFacts

RESERVED_DISK_BYTES = 1_000_000  # below it the node is DiskFull; the example of the documentation
TASK_DIR = b"AZ_BATCH_TASK_DIR"
ROOT_DIR = b"AZ_BATCH_NODE_ROOT_DIR"
CERTIFICATES_DIR = b"AZ_BATCH_CERTIFICATES_DIR"
CERTIFICATES_FOLDER = b"certs"  # documented: in the task's directory

Base = tuple[dict[bytes, bytes], dict[bytes, bytes]]


def node_variables(
    *,
    account_name: str,
    account_url: str,
    pool_id: str,
    node_id: str,
    is_dedicated: bool,
    root: str,
) -> dict[str, str]:
    """The service's variables that all tasks of a node share."""
    return {
        "AZ_BATCH_ACCOUNT_NAME": account_name,
        "AZ_BATCH_ACCOUNT_URL": account_url,
        "AZ_BATCH_POOL_ID": pool_id,
        "AZ_BATCH_NODE_ID": node_id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true" if is_dedicated else "false",
        "AZ_BATCH_NODE_ROOT_DIR": root,
        "AZ_BATCH_NODE_SHARED_DIR": f"{root}/shared",
        "AZ_BATCH_NODE_STARTUP_DIR": f"{root}/startup",
        "AZ_BATCH_NODE_MOUNTS_DIR": f"{root}/fsmounts",
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": str(RESERVED_DISK_BYTES),
    }


def certificate_variables(is_visible: bool) -> dict[str, str]:
    """That tasks are to find certificates; where, `task_environment` says for each."""
    return {os.fsdecode(CERTIFICATES_DIR): ""} if is_visible else {}


def preparation_variables(layout: Layout, job: JobFacts) -> dict[str, str]:
    """Where the job was prepared on this node, for its other tasks."""
    if not job.preparation_id:
        return {}
    directory = layout.task_directory(job.directory, job.preparation_id)
    return {
        "AZ_BATCH_JOB_PREP_DIR": directory,
        "AZ_BATCH_JOB_PREP_WORKING_DIR": f"{directory}/wd",
    }


def encode(pairs: Iterable[tuple[str, str]]) -> dict[bytes, bytes]:
    """Names and values as the kernel wants them; the last of equal names wins."""
    return {os.fsencode(name): os.fsencode(value) for name, value in pairs}


def make_base(
    job: Iterable[tuple[str, str]], service: Mapping[str, str], job_id: str | None
) -> Base:
    """What lies under and what lies over a task's own variables, for all tasks of a job."""
    under = {b"PATH": os.fsencode(DEFAULT_PATH), **encode(job)}
    over = encode(service.items())
    if job_id is not None:
        over[b"AZ_BATCH_JOB_ID"] = os.fsencode(job_id)
    return under, over


def task_environment(
    base: Base,
    own: Iterable[tuple[str, str]],
    directory: bytes,
    working_directory: bytes,
    user: User | None,
    *,
    has_id: bool,
) -> dict[bytes, bytes]:
    """All variables of one task; the task's id is the last part of its directory."""
    under, over = base
    name = os.fsencode(user[2]) if user else _OWN_NAME
    variables = {
        b"HOME": working_directory,
        b"USER": name,
        b"LOGNAME": name,
        **under,
        **(encode(own) if own else {}),
        **over,
        TASK_DIR: directory,
        b"AZ_BATCH_TASK_WORKING_DIR": working_directory,
    }
    if CERTIFICATES_DIR in over:
        variables[CERTIFICATES_DIR] = b"%b/%b" % (directory, CERTIFICATES_FOLDER)
    if has_id:
        variables[b"AZ_BATCH_TASK_ID"] = directory[directory.rindex(b"/") + 1 :]
    return variables


def _own_name() -> bytes:
    import pwd

    try:
        return os.fsencode(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:  # a user without an entry, as in many containers
        return str(os.geteuid()).encode()


_OWN_NAME = _own_name()
