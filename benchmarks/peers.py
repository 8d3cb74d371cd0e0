"""How do other task runners do on the same work, on this machine, in the same run?

10,000 x `/bin/true` on two slots, by xargs, GNU parallel, Ray, Dask, Parsl and the HyperQueue
package, and by Lote; and one task on an idle system. Only Lote gives each task a directory, its
files, its environment and a durable record; the others are set up as they run fastest. What is not
installed is skipped and said so; `--install` makes a virtual environment in ~/.cache/lote-peers.

    python benchmarks/peers.py [--install] [--tasks 10000] [--only PEER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import end_to_end
from figures import Figure, answer, from_runs, reference_count
from reference import repeat

QUESTION = "peers"
VENV = Path.home() / ".cache" / "lote-peers"
PROGRAMS = Path(__file__).with_name("peer_programs")
PACKAGES = {
    "ray": "ray",
    "dask": "distributed",
    "parsl": "parsl",
    "hyperqueue": "hyperqueue",
}
WARM_TASKS = 50
SINGLES = 20
SLOW = ("GNU parallel",)  # 300 tasks a second: a tenth of the tasks says as much
STOP_S = 30.0

RunTasks = Callable[[int], float]
Peer = Callable[[], AbstractContextManager[RunTasks]]


@contextmanager
def shell_peer(command: list[str]) -> Iterator[RunTasks]:
    """A program that reads arguments from its standard input and runs two processes at a time."""

    def run(tasks: int) -> float:
        words = "".join(f"{number}\n" for number in range(tasks)).encode()
        began = time.perf_counter()
        subprocess.run(command, input=words, check=True, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    yield run


@contextmanager
def program_peer(name: str) -> Iterator[RunTasks]:
    """A Python program of peer_programs, in the peers' environment; it says how long it took."""
    with tempfile.TemporaryDirectory(prefix=f"lote-{name}-") as folder:
        words = [str(VENV / "bin" / "python"), str(PROGRAMS / f"{name}_tasks.py"), folder]
        log = Path(folder) / "stderr"
        path = f"{VENV / 'bin'}:/usr/bin:/bin"
        environment = {"PATH": path, "HOME": folder, "PYTHONPATH": str(PROGRAMS)}
        with log.open("wb") as sink:
            program = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True,
                cwd=folder, env=environment,
            )  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        told, heard = program.stdin, program.stdout

        def hear(word: str) -> str:
            for line in heard:  # some of them greet first
                if line.startswith(word):
                    return line
            raise RuntimeError(f"{name} ended:\n{log.read_text(errors='replace')[-2000:]}")

        def run(tasks: int) -> float:
            told.write(f"{tasks}\n")
            told.flush()
            return float(hear("took").split()[1])

        try:
            hear("ready")
            run(WARM_TASKS)
            yield run
        finally:
            told.close()
            heard.close()
            try:
                program.wait(STOP_S)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def is_installed(name: str) -> bool:
    """Whether the peers' environment has the package."""
    python = VENV / "bin" / "python"
    words = [str(python), "-c", f"import {PACKAGES[name]}"]
    return python.exists() and subprocess.run(words, capture_output=True).returncode == 0


def peers() -> dict[str, Peer | None]:
    """All peers by name; None for what is not installed."""
    xargs, parallel = shutil.which("xargs"), shutil.which("parallel")
    found: dict[str, Peer | None] = {
        "xargs": xargs and partial(shell_peer, [xargs, "-n1", "-P2", "/bin/true"]),
        "GNU parallel": parallel
        and partial(shell_peer, [parallel, "--will-cite", "-j2", "/bin/true"]),
    }  # type: ignore[dict-item]
    for name in PACKAGES:
        found[name] = partial(program_peer, name) if is_installed(name) else None
    return found


def install() -> None:
    """Make the peers' environment, with what pip finds."""
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "install", "--quiet"]
    for package in PACKAGES.values():
        if subprocess.run([*pip, package]).returncode:
            print(f"{package} could not be installed", flush=True)


def of_peer(name: str, peer: Peer, tasks: int, given: argparse.Namespace) -> Iterator[Figure]:
    """Tasks a second, and one task on an idle system."""
    with peer() as run_tasks:

        @contextmanager
        def prepared() -> Iterator[Callable[[], float]]:
            yield lambda: run_tasks(tasks)

        runs = repeat(prepared, given.runs, **reference_count(given))
        rates = [tasks / took_s for took_s in runs.results]
        yield from_runs(QUESTION, f"{name}, {tasks:,} x true", "tasks/s", rates, runs)
        singles = [1e3 * run_tasks(1) for _ in range(SINGLES)]
    yield Figure(
        QUESTION, f"{name}, one task", "ms", singles, better="less", is_quiet=runs.is_quiet
    )


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Each peer that is there, then Lote."""
    if given.install:
        install()
    tasks = given.tasks or (500 if given.small else 10_000)
    for name, peer in peers().items():
        if given.only not in (None, name):
            continue
        if peer is None:
            print(f"{name}: skipped, it is not installed", flush=True)
            continue
        yield from of_peer(name, peer, tasks // 10 if name in SLOW else tasks, given)
    if given.only in (None, "lote"):
        given.tasks = tasks
        for figure in end_to_end.throughput(end_to_end.cases(given)["lean"], given):
            if figure.unit == "tasks/s":
                figure.question, figure.what = QUESTION, f"Lote, {figure.what}"
                figure.must = figure.aim = None
                yield figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--only", choices=["xargs", "GNU parallel", *PACKAGES, "lote"])
    parser.add_argument("--install", action="store_true", help="install what pip has of them")


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
