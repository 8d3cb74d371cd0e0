"""The command line that makes a container: what the service sets, then what the user adds.

Both podman and docker read it. Nothing secret is on it: variables go through a file, or, if they
have more than one line, through the environment of the command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lote.agent.command_line import split_command_line
from lote.agent.container_words import Begin, Mount

NODE_LABEL = "lote.node"  # its value is the node's root directory
TASK_LABEL = "lote.task"
# What would tell the container command itself, or its helpers, to do something else.
_MEANT_FOR_OTHERS = re.compile(
    rb"(LD_|GO|BUILDAH|BUILDKIT|CONTAINER|DOCKER|PODMAN|REGISTRY|STORAGE|XDG_|NETAVARK|SSL_|DBUS_)"
    rb"|(HOME|PATH|TMPDIR|TZ|IFS|HTTPS?_PROXY|NO_PROXY|NOTIFY_SOCKET|LISTEN_.*)$",
    re.IGNORECASE,
)
# What keeps the container of an instance between its commands, and takes in what they leave behind.
HOLDER = ("/bin/sh", "-c", "PATH=$PATH:/bin:/usr/bin; while sleep 3600; do :; done")
_NETWORK = re.compile(r"--net(work)?(=|$)")
_GROUP = re.compile(r"--(cgroup-parent|cgroups|pod|pod-id-file)(=|$)")
_ODD_NAME = re.compile(rb"[\s=\0*]")


class ContainerFailed(Exception):
    """A container or its image could not be had; ``trouble`` says why."""

    def __init__(self, code: str, message: str, subject: str = "") -> None:
        super().__init__(message)
        self.trouble = (code, message, subject)


class ContainerGone(ContainerFailed):
    """There is no such container any more: somebody has removed it."""


class RunOptions(NamedTuple):
    """A user's options: the words for the command, and whether the container is to stay."""

    words: list[str]
    is_kept: bool


class Variables(NamedTuple):
    """A container's variables: the text of the file, and those that cannot be in one."""

    file: bytes
    passed: dict[bytes, bytes]


def split_run_options(text: str) -> RunOptions:
    """The words of containerRunOptions, without ``--rm``: the agent removes containers itself,
    unless it is told ``--rm=false``. Raises ContainerFailed."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ContainerFailed("ContainerInvalidSettings", str(error), text[:200]) from error
    is_kept = "--rm=false" in words
    return RunOptions([one for one in words if one.partition("=")[0] != "--rm"], is_kept)


def name_group(words: Iterable[str]) -> bool:
    """Whether these options say which control group a container is below."""
    return any(_GROUP.match(one) for one in words)


def split_variables(variables: Mapping[bytes, bytes]) -> Variables:
    """How a container gets these. Raises ContainerFailed for those that it can't be given."""
    lines, passed = [], {}
    for name, value in variables.items():
        if _ODD_NAME.search(name) or not name or b"\0" in value:
            shown = os.fsdecode(name)[:200]
            raise ContainerFailed("ContainerInvalidSettings", "no name of a variable", shown)
        if b"\n" not in value and b"\r" not in value and not name.startswith(b"#"):
            lines.append(b"%b=%b\n" % (name, value))
        elif _MEANT_FOR_OTHERS.match(name):
            raise ContainerFailed(
                "ContainerInvalidSettings",
                "a variable of this name can't have more than one line in a container",
                os.fsdecode(name)[:200],
            )
        else:
            passed[name] = value
    return Variables(b"".join(lines), passed)


def create_words(
    order: Begin,
    image: str,
    options: RunOptions,
    variables: Variables,
    *,
    variables_file: str,
    node_root: str,
    own_user: str,
    extra: Sequence[str] = (),
    group: Sequence[str] = (),
) -> list[str]:
    """What follows the container command. ``extra``: the site's own options; users' come last, so
    that of options that can be given once theirs counts. The container of an instance only holds
    what is run inside later, in the machine's network, where the nodes have their addresses, if no
    option names one. Raises ContainerFailed."""
    user = own_user if order.user is None else f"{order.user[0]}:{order.user[1]}"
    words = [
        "create",
        *group,
        *("--label", f"{NODE_LABEL}={node_root}"),
        *("--label", f"{TASK_LABEL}={os.fsdecode(order.directory)}"),
        *("--log-driver", "none"),  # the task's files have its outputs
        *("--env-file", variables_file),
        *(word for name in variables.passed for word in ("--env", os.fsdecode(name))),
        *("--user", user),
        *_mount_words(order.mounts),
    ]
    if order.working_directory is not None:
        words += ["--workdir", order.working_directory]
    if not order.is_instance:
        return [*words, *extra, *options.words, image, *_command(order.command_line)]
    if not any(_NETWORK.match(one) for one in (*extra, *options.words)):
        words += ["--network", "host"]
    shell, *script = HOLDER
    return [*words, *extra, *options.words, "--entrypoint", shell, image, *script]


def inside_words(
    line: str, options: RunOptions, entry_point: Sequence[str], default: Sequence[str]
) -> list[str]:
    """The words that a container of an image with this entry point and default command would run
    for a command line. Raises ContainerFailed."""
    own = _entry_point(options.words)
    command = _command(line) or ([] if own is not None else list(default))
    words = [*(entry_point if own is None else own), *command]
    if not words:
        raise ContainerFailed("CommandLaunchFailed", "neither the task nor the image has a command")
    return words


def _entry_point(options: Sequence[str]) -> list[str] | None:
    """What the last ``--entrypoint`` of a user's options asks for."""
    found: str | None = None
    for number, one in enumerate(options):
        name, sign, value = one.partition("=")
        if name == "--entrypoint":
            found = value if sign else "".join(options[number + 1 : number + 2])
    if not found:
        return None if found is None else []
    if not found.startswith("["):
        return [found]
    try:  # podman's other way to write it
        return [str(word) for word in json.loads(found)]
    except ValueError:
        return [found]


def _mount_words(mounts: Iterable[Mount]) -> list[str]:
    words = []
    for mount in mounts:
        place = f"type=bind,{_field('source', mount.path)},{_field('target', mount.path)}"
        words += ["--mount", place + (",readonly" if mount.is_read_only else "")]
    return words


def _field(name: str, value: str) -> str:
    """One field of the comma-separated form, quoted when the path asks for it."""
    text = f"{name}={value}"
    return '"' + text.replace('"', '""') + '"' if set(',"') & set(text) else text


def _command(line: str) -> list[str]:
    """The words of the command line; none leaves the choice to the image."""
    if not line.strip():
        return []
    try:
        return split_command_line(line)
    except ValueError as error:
        raise ContainerFailed("CommandLaunchFailed", str(error), line[:200]) from error


def full_image_name(name: str) -> str:
    """What registries know an image as: with the default registry and tag where none is said."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}" if slash else f"docker.io/library/{name}"
        rest = name
    has_tag = "@" in name or ":" in rest.rpartition("/")[2]
    return name if has_tag else f"{name}:latest"


def registry_of(full_name: str) -> str:
    """The server in an image's full name."""
    return full_name.partition("/")[0]
