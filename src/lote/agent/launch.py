"""Beginning one attempt of a task: its directories, its files, its process."""

from __future__ import annotations

import os
import signal
import stat

from lote.agent.command_line import DEFAULT_PATH, find_program, split_command_line
from lote.agent.disk import is_disk_full
from lote.agent.environment import (
    CERTIFICATES_DIR,
    CERTIFICATES_FOLDER,
    Base,
    task_environment,
)
from lote.agent.orders import Order, Trouble, User

MAKE_TRIES_MAX = 5  # more often in a row nobody deletes jobs of one name
KEPT_OUTPUTS_MAX = 100  # numbered copies of earlier attempts' outputs in one task directory

# Opened in the child, after it has become the task's user: so that user owns them, and a link
# left by an earlier attempt is not followed with more rights than the task has.
_OPEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_FILES = (
    (os.POSIX_SPAWN_OPEN, 1, "../stdout.txt", _OPEN, 0o644),
    (os.POSIX_SPAWN_OPEN, 2, "../stderr.txt", _OPEN, 0o644),
)
# Python ignores these, and ignored signals stay ignored over exec.
# Whoever started the service may have had signals ignored (nohup, a shell's background).
_TO_DEFAULT = tuple(set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})

_programs: dict[tuple[str, str], bytes] = {}  # (word, PATH) found before


class LaunchFailed(Exception):
    """The task's process could not be made; ``trouble`` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble[1])
        self.trouble = trouble


def prepare_directory(directory: bytes, user: User | None) -> bytes:
    """Make a task directory and its ``wd``, or take over those of an earlier attempt.

    Earlier outputs are kept as ``stdout.<n>.txt``. Raises OSError.
    """
    working_directory = directory + b"/wd"
    try:
        os.mkdir(directory, 0o755)
    except FileNotFoundError:
        _make_first(directory)
    except FileExistsError:
        _reuse(directory, working_directory)
    _make_missing(working_directory)
    if user is not None:
        os.chown(directory, user[0], user[1], follow_symlinks=False)
        os.chown(working_directory, user[0], user[1], follow_symlinks=False)
    return working_directory


def _make_first(directory: bytes) -> None:
    """The first of its job: the keeper may take the job's empty folders away under our hands."""
    for tries_left in reversed(range(MAKE_TRIES_MAX)):
        try:
            os.makedirs(directory[: directory.rindex(b"/")], 0o755, exist_ok=True)
            os.mkdir(directory, 0o755)
        except FileNotFoundError:
            if not tries_left:
                raise
        else:
            return


def prepare_certificates(
    directory: bytes, variables: dict[bytes, bytes], user: User | None
) -> None:
    """Make the directory in which the task looks for certificates, if it is told of one. Raises
    OSError."""
    given = variables.get(CERTIFICATES_DIR)
    # A task may be given the name by its client, too; only a place of its own is made.
    if given is None or given != b"%b/%b" % (directory, CERTIFICATES_FOLDER):
        return
    try:
        os.mkdir(given, 0o755)
    except FileExistsError:
        return  # of an earlier attempt
    if user is not None:
        os.chown(given, user[0], user[1], follow_symlinks=False)


def _make_missing(working_directory: bytes) -> None:
    try:
        os.mkdir(working_directory, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(working_directory).st_mode):
            os.unlink(working_directory)
            os.mkdir(working_directory, 0o755)


def _reuse(directory: bytes, working_directory: bytes) -> None:
    for name in (b"stdout", b"stderr"):
        latest = b"%b/%b.txt" % (directory, name)
        if not os.path.lexists(latest):
            continue
        for number in range(KEPT_OUTPUTS_MAX):
            kept = b"%b/%b.%d.txt" % (directory, name, number)
            if not os.path.lexists(kept):
                os.rename(latest, kept)
                break
        else:  # the oldest are worth most, so the latest copy makes room
            if stat.S_ISDIR(os.lstat(latest).st_mode):
                import shutil  # almost never, and it would make every spawner larger

                shutil.rmtree(latest)
            else:
                os.unlink(latest)


def launch(order: Order, base: Base) -> int:
    """Start an order's process in its directory and give its process id.

    Raises LaunchFailed.
    """
    _, _, _, base_id, directory, line, own, user = order
    try:
        working_directory = prepare_directory(directory, user)
        # Start tasks have base 0 and no task id.
        has_id = base_id != 0
        variables = task_environment(base, own, directory, working_directory, user, has_id=has_id)
        prepare_certificates(directory, variables, user)
        os.chdir(working_directory)
    except OSError as error:
        raise LaunchFailed(_directory_trouble(error)) from error
    try:
        words = split_command_line(line)
        path = os.fsdecode(variables.get(b"PATH", DEFAULT_PATH.encode()))
        program = _programs.get((words[0], path)) or _look_up(words[0], path, working_directory)
        return _spawn(program, words, variables, user)
    except FileNotFoundError as error:
        _programs.pop((words[0], path), None)
        raise LaunchFailed(_not_found(words[0], working_directory, error)) from error
    except OSError as error:
        if is_disk_full(error):  # no room for the files of its outputs
            raise LaunchFailed(_directory_trouble(error)) from error
        raise LaunchFailed(("CommandLaunchFailed", _os_text(error), words[0])) from error
    except ValueError as error:  # an unclosed quote, a NUL, a '=' in a variable's name
        raise LaunchFailed(("CommandLaunchFailed", str(error), line[:200])) from error


def _look_up(word: str, path: str, working_directory: bytes) -> bytes:
    program = find_program(word, path, working_directory)
    if "/" not in word and os.path.isabs(program) and not program.startswith(working_directory):
        _programs[word, path] = program
    return program


def _spawn(
    program: bytes, words: list[str], variables: dict[bytes, bytes], user: User | None
) -> int:
    if user is None:
        return os.posix_spawn(
            program,
            words,
            variables,
            file_actions=_FILES,
            setsid=True,
            setsigmask=(),
            setsigdef=_TO_DEFAULT,
        )
    # Only the real ids become the task user's, and only here; the child takes them over (and the
    # saved ones with exec), while this process can always come back.
    os.setresgid(user[1], 0, 0)
    os.setresuid(user[0], 0, 0)
    try:
        return os.posix_spawn(
            program,
            words,
            variables,
            file_actions=_FILES,
            setsid=True,
            setsigmask=(),
            setsigdef=_TO_DEFAULT,
            resetids=True,
        )
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def _os_text(error: OSError) -> str:
    return error.strerror or str(error)


def _directory_trouble(error: OSError) -> Trouble:
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
    code = "DiskFull" if is_disk_full(error) else "ResourceDirectoryCreateFailed"
    return (code, _os_text(error), path)


def _not_found(word: str, working_directory: bytes, error: OSError) -> Trouble:
    """ENOENT has two meanings: no such program, or a program whose interpreter is missing."""
    if "/" in word and os.path.exists(os.path.join(working_directory, os.fsencode(word))):
        return ("CommandLaunchFailed", "the program's interpreter is not found", word)
    return ("CommandProgramNotFound", _os_text(error), word)
