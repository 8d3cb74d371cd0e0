"""The machine's container command, podman or docker, and the few things that are asked of it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from lote.agent.container_groups import Groups
from lote.agent.container_line import (
    NODE_LABEL,
    ContainerFailed,
    ContainerGone,
    create_words,
    full_image_name,
    inside_words,
    name_group,
    registry_of,
    split_run_options,
    split_variables,
)
from lote.agent.container_login import login_of, server_name
from lote.agent.container_words import Begin
from lote.wire.frames import Registry

CANDIDATES = ("podman", "docker")
MESSAGE_CHARS_MAX = 2000  # of what a command said
LOOK_TIMEOUT_S = 60.0  # for what only asks; pulls may take as long as they take
CREATE_TIMEOUT_S = 600.0  # some storage drivers copy the whole image
STOP_LOOK_S = 0.2  # how soon a pull that nobody wants any more is ended
RUNNING = "running"
# Of podman and docker, in lower case.
GONE_TEXTS = ("no such container", "no such object", "already been removed")
NEVER_STARTED = "0001-"  # StartedAt of a container that has not run
REMEDY = (
    "Install podman or docker on the machine (or name the command with LOTE_CONTAINER_COMMAND), "
    "see that it runs for the service's user, and reboot the node."
)


class State(NamedTuple):
    """A container as its runtime tells of it. ``pid``: of its first process, while it runs."""

    status: str
    exit_code: int
    error: str
    has_started: bool
    pid: int


class Made(NamedTuple):
    """A container that was made: whether it is to stay, and the group that counts what it uses."""

    id: str
    is_kept: bool
    group: str | None


class ContainerEngine:
    """Carries out what the crew wants with one command line. Raises ContainerFailed.

    ``command``: words of the command; none looks for one. ``folder`` is the crew's alone.
    """

    def __init__(
        self, command: Sequence[str], options: Sequence[str], root: str, folder: str
    ) -> None:
        self._wanted = list(command)
        self._command: list[str] = []
        self._is_docker = False
        self._options = list(options)
        self._root = root
        self._folder = folder
        self._environment = _environment()
        self._groups: Groups | None = None  # where the runtime takes those of the agent
        self._pulls: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def find(self) -> None:
        """Choose the first command that works here, and remove this node's earlier containers."""
        candidates = [self._wanted] if self._wanted else [[one] for one in CANDIDATES]
        told = []
        for words in candidates:
            program = shutil.which(words[0], path=self._environment["PATH"])
            if program is None:
                told.append(f"{words[0]} is not on this machine")
                continue
            self._command = [program, *words[1:]]
            try:
                self._is_docker = "docker" in self._say("--version").lower()
                self._groups = self._find_groups()
                self.sweep()
                self.leave()
            except ContainerFailed as failed:
                told.append(f"{words[0]}: {failed.trouble[1]}")
            else:
                return
        self._command = []
        raise ContainerFailed("ContainerRuntimeUnavailable", f"{'; '.join(told)}. {REMEDY}")

    def _find_groups(self) -> Groups | None:
        """Only root may remove what the runtime makes, and systemd makes groups of its own."""
        if os.geteuid():
            return None
        member = "{{.CgroupDriver}}" if self._is_docker else "{{.Host.CgroupManager}}"
        told = self._run(["info", "--format", member], timeout_s=LOOK_TIMEOUT_S).stdout.strip()
        groups = Groups(self._root)
        return groups if told == "cgroupfs" and groups.are_allowed() else None

    @property
    def own_user(self) -> str:
        """The agent's own user as a container sees it."""
        if self._is_docker:
            return f"{os.geteuid()}:{os.getegid()}"
        return "0:0"  # of podman without root: the user who runs it

    def sweep(self) -> None:
        """Remove all containers of this node, running or not."""
        left = self._say("ps", "--all", "--quiet", "--filter", f"label={NODE_LABEL}={self._root}")
        if left.split():
            self._say("rm", "--force", *left.split())

    def leave(self) -> None:
        """Leave nothing in the machine that no container needs any more."""
        if self._groups is not None:
            self._groups.sweep()

    def fetch(self, image: str, registries: Sequence[Registry], stop: threading.Event) -> str:
        """Have the image here; gives the name to use. Pulls only what is not here yet."""
        if image.startswith("-"):
            raise ContainerFailed("ContainerInvalidImage", "not the name of an image", image[:200])
        full_name = full_image_name(image)
        with self._lock:
            lock = self._pulls.setdefault(full_name, threading.Lock())
        with lock:
            for name in (image, full_name):
                if self._run(["image", "inspect", name]).returncode == 0:
                    return name
            server = registry_of(full_name)
            found = next((one for one in registries if server_name(one) == server), None)
            self._pull(full_name, found, stop)
            return full_name

    def _pull(self, name: str, registry: Registry | None, stop: threading.Event) -> None:
        with self._credentials(registry) as (before, after):
            done = self._run([*before, "pull", *after, name], stop=stop)
        if stop.is_set():
            raise ContainerFailed("TaskEnded", "the task was ended while its image was fetched")
        if done.returncode:
            message = done.stderr
            if registry is not None and registry.password:
                message = message.replace(registry.password, "***")
            raise ContainerFailed("ContainerInvalidImage", message, name)

    @contextmanager
    def _credentials(self, registry: Registry | None) -> Iterator[tuple[list[str], list[str]]]:
        """Words before and after ``pull`` that let it read a registry; on disk only meanwhile."""
        if registry is None or not registry.password:
            yield [], []
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:  # mode 0700
            path = f"{folder}/config.json"
            with open(path, "w", encoding="utf-8") as target:
                json.dump(login_of(registry), target)
            yield (["--config", folder], []) if self._is_docker else ([], ["--authfile", path])

    def create(self, order: Begin, image: str) -> Made:
        """Make the container of an attempt."""
        options = split_run_options(order.run_options)
        variables = split_variables(order.variables)
        group = None
        if self._groups is not None and not name_group([*self._options, *options.words]):
            group = self._groups.name(order.key, order.run, order.attempt)
        with tempfile.NamedTemporaryFile(dir=self._folder) as file:  # mode 0600
            file.write(variables.file)
            file.flush()
            words = create_words(
                order,
                image,
                options,
                variables,
                variables_file=file.name,
                node_root=self._root,
                own_user=self.own_user,
                extra=self._options,
                group=self._group_words(group),
            )
            # Not given up when the task is ended: nobody would know of the container.
            done = self._run(words, timeout_s=CREATE_TIMEOUT_S, variables=variables.passed)
        lines = done.stdout.split()
        if done.returncode or not lines:
            raise ContainerFailed("ContainerInvalidSettings", done.stderr, order.run_options[:200])
        return Made(lines[-1], options.is_kept, group)

    def _group_words(self, group: str | None) -> list[str]:
        if group is None:
            return []
        # What podman leaves beside a container while it runs is not to be counted.
        own = [] if self._is_docker else ["--cgroups", "no-conmon"]
        return ["--cgroup-parent", group, *own]

    def used_s(self, made: Made) -> tuple[float, float] | None:
        """Seconds of user and kernel mode that a container used which has ended; told once. None
        where nobody counts them."""
        if self._groups is None or made.group is None:
            return None
        return self._groups.take(made.group)

    def start(self, container_id: str, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """Start a container, its outputs going to these descriptors; ends when it has ended."""
        return self._attach(["start", "--attach", container_id], stdout, stderr)

    def _attach(self, words: Sequence[str], stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, *words],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=self._environment,
        )

    def hold(self, container_id: str) -> None:
        """Start the container of an instance, whose outputs nobody wants."""
        done = self._run(["start", container_id], timeout_s=CREATE_TIMEOUT_S)
        if done.returncode:
            raise ContainerFailed("ContainerFailedToStart", done.stderr)

    def words_inside(self, order: Begin, image: str, line: str) -> list[str]:
        """What a command line is inside a container of this image and these options."""
        told: dict[str, Any] = json.loads(
            self._say("image", "inspect", "--format", "{{json .Config}}", image)
        )
        options = split_run_options(order.run_options)
        return inside_words(line, options, told.get("Entrypoint") or [], told.get("Cmd") or [])

    def enter(
        self, container_id: str, words: Sequence[str], stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        """Run a command in a container that runs; ends when the command has ended."""
        return self._attach(["exec", container_id, *words], stdout, stderr)

    def stop(self, container_id: str) -> None:
        """End a container at once; returns when nothing runs in it."""
        self.kill(container_id)
        self._run(["wait", container_id], timeout_s=LOOK_TIMEOUT_S)

    def kill(self, container_id: str) -> None:
        """SIGKILL to all of a container; nothing if it does not run (yet, or any more)."""
        self._run(["kill", "--signal", "KILL", container_id], timeout_s=LOOK_TIMEOUT_S)

    def look(self, container_id: str) -> State:
        """How a container is. Raises ContainerGone for one that is not there any more."""
        words = ["inspect", "--type", "container", "--format", "{{json .State}}", container_id]
        try:
            told: dict[str, Any] = json.loads(self._say(*words))
        except ContainerFailed as failed:
            code, message, _ = failed.trouble
            if any(text in message.lower() for text in GONE_TEXTS):
                raise ContainerGone(code, message) from failed
            raise
        return State(
            str(told.get("Status", "")).lower(),
            int(told.get("ExitCode", 0)),
            str(told.get("Error", "") or "")[:MESSAGE_CHARS_MAX],
            not str(told.get("StartedAt", NEVER_STARTED)).startswith(NEVER_STARTED),
            int(told.get("Pid", 0)),
        )

    def remove(self, container_id: str) -> None:
        """End a container if it runs, and forget it."""
        self._run(["rm", "--force", container_id], timeout_s=LOOK_TIMEOUT_S)

    # -- commands ---------------------------------------------------------------------------

    def _say(self, *words: str) -> str:
        done = self._run(list(words), timeout_s=LOOK_TIMEOUT_S)
        if done.returncode:
            raise ContainerFailed("ContainerRuntimeUnavailable", done.stderr)
        return done.stdout

    def _run(
        self,
        words: list[str],
        *,
        stop: threading.Event | None = None,
        timeout_s: float | None = LOOK_TIMEOUT_S,
        variables: Mapping[bytes, bytes] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """What a command said; one that nobody waits for any more is ended."""
        environment = {os.fsencode(name): os.fsencode(v) for name, v in self._environment.items()}
        process = subprocess.Popen(
            [*self._command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**environment, **(variables or {})},
        )
        left_s = timeout_s if stop is None else None
        while True:
            try:
                out, told = process.communicate(timeout=STOP_LOOK_S if stop is not None else left_s)
                break
            except subprocess.TimeoutExpired:
                if stop is None or stop.is_set():
                    process.kill()
        message = told.decode(errors="replace").strip()[-MESSAGE_CHARS_MAX:]
        code = process.returncode
        return subprocess.CompletedProcess(
            words[0], code, out.decode(errors="replace"), message or f"exit code {code}"
        )


def _environment() -> dict[str, str]:
    """Little, and nothing of any task: the command may run as root."""
    found = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        found["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # a user without an entry
        found["HOME"] = "/"
    runtime = f"/run/user/{os.geteuid()}"
    if os.geteuid() and os.path.isdir(runtime):
        found["XDG_RUNTIME_DIR"] = runtime
    return found
