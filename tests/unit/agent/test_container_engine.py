"""What is asked of the container command; a script stands in that writes down what it was asked."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from lote.agent.container_engine import ContainerEngine
from lote.agent.container_groups import Groups
from lote.agent.container_line import ContainerFailed, ContainerGone
from lote.agent.container_words import Begin
from lote.wire.frames import Registry

PASSWORD = "pa55 word"
REGISTRY = Registry("https://r.io/", "me", PASSWORD)
SCRIPT = """#!/bin/sh
echo "$@" >>{folder}/asked
case "$*" in
*--version*) echo "{name} version 1.2.3" ;;
*"image inspect"*) exit 1 ;;
*pull*)
    for word in "$@"; do
        case $word in {crew}*) login=$word ;; esac
    done
    [ -d "$login" ] && login=$login/config.json
    [ -z "$login" ] || cp "$login" {folder}/login
    case "$*" in *refused*) echo "no: {password} is wrong" >&2; exit 125 ;; esac
    case "$*" in *slow*) exec sleep 600 ;; esac ;;
*"ps --all"*) echo one two ;;
*info*) echo cgroupfs ;;
*create*) echo made ;;
*"--type container"*other) echo "Error: the database is locked" >&2; exit 125 ;;
*"--type container"*) echo 'Error: No such container "x"' >&2; exit 125 ;;
esac
"""


class Stand:
    """An engine over the script."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.crew = folder / "crew"
        self.crew.mkdir()
        script = folder / "script"
        script.write_text(
            SCRIPT.format(folder=folder, name=name, crew=self.crew, password=PASSWORD)
        )
        script.chmod(0o755)
        self.engine = ContainerEngine([str(script), "--flag"], [], "/root", str(self.crew))
        self.engine.find()

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    @property
    def auths(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((self.folder / "login").read_text())["auths"]
        return found


@pytest.fixture(params=["podman", "Docker"])
def stand(tmp_path, request):
    return Stand(tmp_path, request.param)


def fetch(stand: Stand, image: str, *registries: Registry) -> str:
    return stand.engine.fetch(image, registries, threading.Event())


def test_what_an_earlier_crew_left_is_removed_at_first(stand):
    words = [one for one in stand.asked if " info " not in one]  # which only root asks
    assert words == [
        "--flag --version",
        "--flag ps --all --quiet --filter label=lote.node=/root",
        "--flag rm --force one two",
    ]


@pytest.mark.skipif(
    os.geteuid() != 0 or not Groups("/root").are_allowed(), reason="groups can't be made here"
)
def test_what_a_container_uses_is_counted_in_a_group_unless_an_option_names_one(stand):
    group = Groups("/root").name(1, 2, 0)
    assert stand.engine.create(order(""), "image").group == group
    own = "" if "Docker" in (stand.folder / "script").read_text() else "--cgroups no-conmon "
    assert f"create --cgroup-parent {group} {own}--label" in stand.asked[-1]
    for own in ("--cgroups=disabled", "--pod x", "--cgroup-parent /mine"):
        made = stand.engine.create(order(own), "image")
        assert (made.group, stand.engine.used_s(made)) == (None, None)
        assert group not in stand.asked[-1]


def order(run_options: str) -> Begin:
    return Begin(1, 2, 0, b"/root/t", "image", "true", run_options, {}, None, [], None, [])


def test_an_image_is_pulled_with_the_login_of_its_registry(stand):
    assert fetch(stand, "r.io/tool", Registry("other.io", "x", "y"), REGISTRY) == "r.io/tool:latest"
    assert stand.auths == {"r.io": {"auth": "bWU6cGE1NSB3b3Jk"}}
    assert not list(stand.crew.iterdir())  # it was there for the pull only
    assert PASSWORD not in "".join(stand.asked)
    assert "bWU6cGE1NSB3b3Jk" not in "".join(stand.asked)


def test_an_image_of_the_default_registry(stand):
    fetch(stand, "tool", REGISTRY)
    assert not (stand.folder / "login").exists()
    fetch(stand, "tool", Registry("docker.io", "me", PASSWORD))
    assert set(stand.auths) == {"docker.io", "https://index.docker.io/v1/"}


def test_why_an_image_cannot_be_had_is_told_without_the_password(stand):
    with pytest.raises(ContainerFailed) as caught:
        fetch(stand, "r.io/refused", REGISTRY)
    trouble = ("ContainerInvalidImage", "no: *** is wrong", "r.io/refused:latest")
    assert caught.value.trouble == trouble
    with pytest.raises(ContainerFailed) as caught:
        fetch(stand, "--privileged")
    assert caught.value.trouble[0] == "ContainerInvalidImage"


def test_a_container_that_is_not_there_is_told_from_one_that_nobody_can_look_at(stand):
    with pytest.raises(ContainerGone) as caught:
        stand.engine.look("x")
    assert caught.value.trouble[1] == 'Error: No such container "x"'
    with pytest.raises(ContainerFailed) as failed:
        stand.engine.look("other")
    assert not isinstance(failed.value, ContainerGone)
    assert failed.value.trouble[0] == "ContainerRuntimeUnavailable"


def test_a_pull_that_nobody_wants_any_more_ends(stand):
    stop = threading.Event()
    stop.set()
    with pytest.raises(ContainerFailed) as caught:
        stand.engine.fetch("slow", [], stop)
    assert caught.value.trouble[0] == "TaskEnded"


def test_a_command_that_does_not_work_here(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho no daemon >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(ContainerFailed) as caught:
        ContainerEngine([str(script)], [], "/root", str(tmp_path)).find()
    code, message, _ = caught.value.trouble
    assert code == "ContainerRuntimeUnavailable"
    assert message.startswith(f"{script}: no daemon. Install podman or docker")
