"""Demonstrations: the programs under ``examples/``, run against a service of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import lote
from lote.cli.interrupts import signals_interrupt
from lote.cli.ready import exports
from lote.cli.service import ServiceFailed, temporary_service

DEMOS: Mapping[str, str] = {
    "transcode": "Convert two films on two nodes with the official SDK.",
    "sweep": "Price options in 2,000 short tasks, and draw what came out and how fast.",
}
# What the extra `demo` of the package installs for each.
PARTS: Mapping[str, tuple[str, ...]] = {
    "transcode": ("azure.batch", "imageio_ffmpeg", "skvideo"),
    "sweep": ("azure.batch", "matplotlib"),
}
SERVICE_FOLDER = "service"
INTERRUPTED = 130  # 128 + SIGINT


class NoExamples(Exception):
    """The examples or what they need are not installed."""


def print_demos(demos: Mapping[str, str], *, as_json: bool) -> None:
    """The list, for people or for programs."""
    if as_json:
        print(json.dumps([{"name": n, "description": d} for n, d in demos.items()], indent=2))
        return
    width = max(map(len, demos))
    for name, description in demos.items():
        print(f"{name:<{width}}  {description}")


def examples_folder() -> Path:
    """The folder of the example programs: in the installed package, or in the checkout."""
    package = Path(lote.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "transcode" / "demo.py").is_file():
            return folder
    raise NoExamples(f"no examples beside {package}")


def check_parts(name: str) -> None:
    """Refuses (``NoExamples``) a demonstration of which a package is missing."""
    missing = [part for part in PARTS[name] if find_spec(part) is None]
    if missing:
        raise NoExamples(f"{', '.join(missing)} is not installed: pip install 'lote[demo]'")


def run_demo(
    name: str,
    keep: Path | None,
    environment: Mapping[str, str],
    *,
    live: bool,
    notify: Callable[[str], None],
    words: Sequence[str] = (),
) -> int:
    """Start a service, run the example of that name there, end the service. Gives the exit code.

    Results go to ``keep``, or to a fresh folder; the service's own folder is removed at the end
    unless ``keep`` was given or something failed.
    """
    try:
        check_parts(name)
    except NoExamples as error:
        notify(str(error))
        return 1
    results = (keep or Path(tempfile.mkdtemp(prefix=f"lote-{name}-"))).absolute()
    folder = results / SERVICE_FOLDER
    command = [sys.executable, "-m", f"{name}.demo", str(results), *words]
    code = 1
    try:
        path = os.pathsep.join(
            filter(None, [str(examples_folder()), environment.get("PYTHONPATH")])
        )
        with signals_interrupt(), temporary_service(folder) as ready:
            variables = {**environment, **exports(ready), "PYTHONPATH": path}
            if not live:
                command.append("--no-progress")
            code = subprocess.run(command, env=variables, check=False).returncode
    except (NoExamples, ServiceFailed, OSError) as error:
        notify(str(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        notify("interrupted")
        if keep is None:
            shutil.rmtree(results, ignore_errors=True)
    elif code:
        notify(f"the demonstration failed; what there is of it: {results}")
    elif keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return code
