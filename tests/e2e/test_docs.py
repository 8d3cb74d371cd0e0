"""What the documentation tells people to type does what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from documents import ROOT, Command, blocks, commands

from lote.cli.ready import exports
from lote.cli.service import temporary_service
from lote.storage.operations import LEFT_OUT

CONSOLES = [
    "docs/start.md",
    "docs/nodes.md",
    "docs/storage.md",
    "docs/troubleshooting.md",
    "docs/backup.md",
]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


def as_pattern(expected: str) -> str:
    """A line of the page; … stands for what differs from machine to machine."""
    return ".*".join(re.escape(part) for part in expected.split("…"))


def check(command: Command, shell: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", command.line],
        env=shell,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    for line in command.expected:
        assert re.search(f"^{as_pattern(line)}$", done.stdout, re.MULTILINE), (
            f"$ {command.line}\nwants {line!r}\n{done.stdout}{done.stderr}"
        )


@pytest.mark.parametrize("page", CONSOLES)
def test_consoles_print_what_the_page_shows(page, shell, tmp_path):
    found = commands(page)
    assert found
    for command in found:
        check(command, shell, tmp_path)


def test_rehearsals_fail_as_their_page_says(shell, tmp_path):
    """On a service of its own, which others need not bear."""
    folder = tmp_path / "service"
    with temporary_service(folder):
        for command in commands("docs/rehearse.md"):
            check(command, {**shell, "LOTE_DATA": str(folder), "COLUMNS": "160"}, tmp_path)


def test_python_pages_are_one_program_that_runs(service, monkeypatch, capsys):
    for name, value in exports(service).items():
        monkeypatch.setenv(name, value)
    job, storage = blocks("docs/run-a-job.md", "python"), blocks("docs/storage.md", "python")
    scaling = blocks("docs/autoscale.md", "python")
    special = blocks("docs/jobs.md", "python") + blocks("docs/multi-instance.md", "python")
    names: dict[str, object] = {}
    program = [*job[:-1], *special, *storage, *scaling, job[-1]]
    for number, block in enumerate(program):
        exec(compile(block, f"block {number}", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert "7 0 49" in printed
    assert "last 0 all done" in printed
    nothing_to_do = "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;$NodeDeallocationOption="
    assert f"{nothing_to_do}taskcompletion None" in printed
    assert "3 words" in printed
    assert "JMComplete" in printed
    assert "read data" in printed
    assert "pool mine" in printed
    assert "3 nodes; subtask 1 success subtask 2 success" in printed
    assert printed[-1] == "1"


def test_the_page_about_storage_gives_every_reason_for_what_is_left_out():
    page = " ".join((ROOT / "docs/storage.md").read_text().split())
    assert sorted(reason for reason in set(LEFT_OUT.values()) if reason not in page) == []


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"])
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
