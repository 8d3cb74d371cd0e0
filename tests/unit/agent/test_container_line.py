"""The command line that makes a container."""

from __future__ import annotations

import pytest

from lote.agent.container_line import (
    HOLDER,
    ContainerFailed,
    create_words,
    full_image_name,
    inside_words,
    split_run_options,
    split_variables,
)
from lote.agent.container_words import Begin, Mount


def an_order(**changes: object) -> Begin:
    members: dict[str, object] = {
        "key": 1, "run": 1, "attempt": 0, "directory": b"/n/tasks/workitems/j/job-1/t",
        "image": "img", "command_line": "prog 'two words' --flag", "run_options": "",
        "variables": {}, "user": (64000, 64001, "me"), "mounts": [Mount("/n/tasks")],
        "working_directory": "/n/tasks/workitems/j/job-1/t/wd", "registries": [],
    }  # fmt: skip
    return Begin(**members | changes)  # type: ignore[arg-type]


def words(order: Begin, *extra: str) -> list[str]:
    return create_words(
        order,
        "img:1",
        split_run_options(order.run_options),
        split_variables(order.variables),
        variables_file="/v",
        node_root="/n/tasks",
        own_user="0:0",
        extra=extra,
    )


def test_all_that_the_service_sets_and_then_what_others_add():
    order = an_order(run_options="--rm --shm-size 1g", variables={b"A": b"1\n2", b"B": b"3"})
    assert words(order, "--network", "host") == [
        "create",
        *("--label", "lote.node=/n/tasks"),
        *("--label", "lote.task=/n/tasks/workitems/j/job-1/t"),
        *("--log-driver", "none"),
        *("--env-file", "/v"),
        *("--env", "A"),
        *("--user", "64000:64001"),
        *("--mount", "type=bind,source=/n/tasks,target=/n/tasks"),
        *("--workdir", "/n/tasks/workitems/j/job-1/t/wd"),
        *("--network", "host"),
        *("--shm-size", "1g"),
        "img:1",
        *("prog", "two words", "--flag"),
    ]


def test_what_is_left_to_the_image():
    made = words(an_order(command_line="  ", working_directory=None, mounts=[], user=None))
    assert made[-3:] == ["--user", "0:0", "img:1"]
    assert not {"--workdir", "--mount"} & set(made)


def test_mounts_of_odd_folders():
    mounts = [Mount("/a,b", is_read_only=True), Mount('/q"')]
    made = words(an_order(mounts=mounts))
    found = [made[at + 1] for at, word in enumerate(made) if word == "--mount"]
    assert found == [
        'type=bind,"source=/a,b","target=/a,b",readonly',
        'type=bind,"source=/q""","target=/q"""',
    ]


def test_variables_go_through_a_file_or_the_environment_and_never_on_the_line():
    found = split_variables(
        {b"A": b"x = y # z", b"LINES": b"1\n2", b"LD_PRELOAD": b"/one", b"E": b"", b"\xff": b"\xfe"}
    )
    assert found.file == b"A=x = y # z\nLD_PRELOAD=/one\nE=\n\xff=\xfe\n"
    assert found.passed == {b"LINES": b"1\n2"}
    assert "secret" not in " ".join(words(an_order(variables={b"A": b"secret", b"B": b"sec\nret"})))


@pytest.mark.parametrize(
    "variables",
    [{b"LD_PRELOAD": b"a\nb"}, {b"path": b"a\nb"}, {b"Docker_Host": b"a\rb"}, {b"A B": b"x"},
     {b"": b"x"}, {b"A": b"x\0y"}, {b"A*": b"x"}],
)  # fmt: skip
def test_variables_that_a_container_cannot_be_given(variables):
    with pytest.raises(ContainerFailed) as caught:
        split_variables(variables)
    assert caught.value.trouble[0] == "ContainerInvalidSettings"


def test_containers_are_removed_by_the_agent_unless_told_otherwise():
    assert split_run_options("--rm -v '/a b:/c'") == (["-v", "/a b:/c"], False)
    assert split_run_options("--rm=true") == ([], False)
    assert split_run_options("--rm=false") == ([], True)
    with pytest.raises(ContainerFailed) as caught:
        split_run_options("'unclosed")
    assert caught.value.trouble == ("ContainerInvalidSettings", "No closing quotation", "'unclosed")


def test_a_command_line_that_cannot_be_split():
    with pytest.raises(ContainerFailed) as caught:
        words(an_order(command_line="sh -c 'x"))
    assert caught.value.trouble[0] == "CommandLaunchFailed"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("team/tool", "docker.io/team/tool:latest"),
        ("r.io/tool:2", "r.io/tool:2"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("busybox@sha256:00", "docker.io/library/busybox@sha256:00"),
    ],
)
def test_names_of_images_as_registries_know_them(name, full):
    assert full_image_name(name) == full


def test_the_container_of_an_instance_holds_what_runs_inside_later():
    order = an_order(is_instance=True, run_options="--entrypoint /own --shm-size 1g")
    shell, *script = HOLDER
    end = ["--entrypoint", "/own", "--shm-size", "1g", "--entrypoint", shell, "img:1", *script]
    assert words(order)[-len(end) - 2 :] == ["--network", "host", *end]
    for option in ("--network none", "--network=none", "--net n", "--net=n"):
        named = an_order(is_instance=True, run_options=option)
        assert "host" not in words(named)
    assert "host" not in words(order, "--network", "none")
    assert "host" in words(order, "--network-alias", "me")
    assert "host" not in words(an_order())


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        ("a 'b c'", "", ["entry", "a", "b c"]),
        ("", "", ["entry", "default"]),
        ("a", "--entrypoint ''", ["a"]),
        ("a", "--entrypoint one --entrypoint=two", ["two", "a"]),
        ("", "--entrypoint two", ["two"]),
        ("a", """--entrypoint '["x", "y z"]'""", ["x", "y z", "a"]),
        ("a", "--entrypoint '[x'", ["[x", "a"]),
    ],
)
def test_what_a_command_line_is_inside(line, options, expected):
    assert inside_words(line, split_run_options(options), ["entry"], ["default"]) == expected


def test_nothing_to_run_inside():
    with pytest.raises(ContainerFailed) as caught:
        inside_words("", split_run_options("--entrypoint ''"), [], ["default"])
    assert caught.value.trouble[0] == "CommandLaunchFailed"
