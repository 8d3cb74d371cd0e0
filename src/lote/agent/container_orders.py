"""What a container crew is asked to do for an attempt of a task."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lote.agent.command_line import DEFAULT_PATH
from lote.agent.container_words import Begin, Mount
from lote.agent.environment import Base, task_environment
from lote.agent.layout import Layout
from lote.agent.task_spec import BindMount, ContainerSettings
from lote.agent.work import Work
from lote.wire.frames import Registry

DEFAULT_REGISTRY = "docker.io"  # REST: ContainerRegistryReference, registryServer
IMAGE_DEFAULT = "containerImageDefault"  # REST: ContainerWorkingDirectory

_FOLDERS = {
    "Shared": "shared",
    "Startup": "startup",
    "VfsMounts": "fsmounts",
    "Applications": "applications",
}


def order_of(
    work: Work, key: int, base: Base, layout: Layout, registries: Sequence[Registry]
) -> Begin:
    """The order for the present attempt of a task with containerSettings."""
    settings = work.spec.container_settings
    assert settings is not None
    mounts = _mounts(settings.container_host_batch_bind_mounts, work, layout)
    sees_directory = any(f"{work.directory}/".startswith(f"{one.path}/") for one in mounts)
    working_directory: str | None = f"{work.directory}/wd"
    if settings.working_directory == IMAGE_DEFAULT or not sees_directory:
        working_directory = None
    return Begin(
        key,
        work.run,
        work.attempt,
        os.fsencode(work.directory),
        settings.image_name,
        work.command_line,
        settings.container_run_options or "",
        _variables(work, key, base, layout, sees_directory=sees_directory),
        work.user,
        mounts,
        working_directory,
        [*_own_registry(settings), *registries],
        work.instance is not None,
    )


def _variables(
    work: Work, key: int, base: Base, layout: Layout, *, sees_directory: bool
) -> dict[bytes, bytes]:
    """Those of a task without a container, but for what the image knows better."""
    own = work.own_variables(layout)
    directory = os.fsencode(work.directory)
    given = {os.fsencode(name) for name, _ in own}
    # Start tasks have key 0 and no task id.
    found = task_environment(base, own, directory, directory + b"/wd", work.user, has_id=key != 0)
    under, over = base
    given |= under.keys() | over.keys()
    if under.get(b"PATH") == os.fsencode(DEFAULT_PATH) and not any(n == "PATH" for n, _ in own):
        del found[b"PATH"]
    ours = [b"USER", b"LOGNAME", *([] if sees_directory else [b"HOME"])]
    for name in ours:
        if name not in given:
            del found[name]
    return found


def _mounts(wanted: list[BindMount] | None, work: Work, layout: Layout) -> list[Mount]:
    if wanted is None:
        return [Mount(layout.root)]
    found = []
    for one in wanted:
        path = _place(one.source or "", work, layout)
        if path is not None:
            found.append(Mount(path, bool(one.is_read_only)))
    return found


def _place(source: str, work: Work, layout: Layout) -> str | None:
    """The folder that a kind of data is in; None when the task has none of it."""
    if source == "Task":
        return work.directory
    if source == "JobPrep":
        name = work.job.preparation_id
        return layout.task_directory(work.job.directory, name) if name else None
    return f"{layout.root}/{_FOLDERS[source]}"


def _own_registry(settings: ContainerSettings) -> list[Registry]:
    own = settings.registry
    if own is None:
        return []
    server = own.registry_server or DEFAULT_REGISTRY
    return [Registry(server, own.username or "", own.password or "")]
