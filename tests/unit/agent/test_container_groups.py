"""Groups that count what containers used, over trees as kernels show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lote.agent.container_groups import Groups

V2 = "usage_usec 3500000\nuser_usec 2250000\nsystem_usec 1250000\nnice_usec 0\n"
THROTTLED = "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"  # cpu.stat of version 1


def write(group: Path, **files: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (group / name.replace("_", ".")).write_text(text)


@pytest.fixture
def groups(tmp_path):
    return Groups("/node", str(tmp_path))


@pytest.fixture
def name(groups):
    return groups.name(7, 2, 0)


def test_the_one_tree_of_version_2(groups, name, tmp_path):
    write(tmp_path, cgroup_controllers="cpu io")
    write(tmp_path / name[1:], cpu_stat=V2)
    assert groups.take(name) == (2.25, 1.25)


def test_both_trees(groups, name, tmp_path):
    write(tmp_path / "unified" / name[1:], cpu_stat=V2)
    write(tmp_path / "cpuacct" / name[1:], cpuacct_usage="1\n", cpuacct_stat="user 0\nsystem 0\n")
    assert groups.take(name) == (2.25, 1.25)


def test_a_tree_that_the_runtime_passes_over(groups, name, tmp_path):
    write(tmp_path / "unified" / name[1:], cpu_stat="user_usec 0\nsystem_usec 0\n")
    usage, ticks = "3500000000\n", "user 250\nsystem 100\n"
    write(tmp_path / "cpuacct" / name[1:], cpuacct_usage=usage, cpuacct_stat=ticks)
    assert groups.take(name) == (2.5, 1.0)


def test_less_than_a_tick(groups, name, tmp_path):
    write(tmp_path / "cpu" / name[1:], cpu_stat=THROTTLED)
    usage, ticks = "3500000\n", "user 0\nsystem 0\n"
    write(tmp_path / "cpuacct" / name[1:], cpuacct_usage=usage, cpuacct_stat=ticks)
    assert groups.take(name) == (0.0035, 0.0)


def test_nothing_ran_there(groups, name, tmp_path):
    assert groups.take(name) is None
    write(tmp_path / "cpuacct" / name[1:], cpuacct_usage="0\n", cpuacct_stat="user 0\nsystem 0\n")
    assert groups.take(name) is None


def test_a_group_goes_when_it_was_read(groups, name, tmp_path):
    places = [tmp_path / tree / name[1:] for tree in ("memory", "pids")]
    for place in places:
        place.mkdir(parents=True)
    groups.take(name)
    assert not [place for place in places if place.exists()]


def test_those_of_an_earlier_life_go_and_those_of_others_stay(groups, name, tmp_path):
    other = Groups("/other", str(tmp_path)).name(7, 2, 0)
    write(tmp_path, cgroup_controllers="cpu")
    for one in (name, other):
        (tmp_path / one[1:]).mkdir(parents=True)
    groups.sweep()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [other.split("/")[1]]


def test_a_group_that_is_still_in_use_is_left(groups, name, tmp_path):
    below = tmp_path / "memory" / name[1:] / "libpod-1"
    below.mkdir(parents=True)
    groups.sweep()
    assert below.is_dir()


def test_whether_groups_can_be_made_leaves_nothing(groups, tmp_path):
    assert not groups.are_allowed()  # no tree at all
    (tmp_path / "memory").mkdir()
    (tmp_path / "pids").mkdir()
    assert groups.are_allowed()
    assert not [*tmp_path.glob("*/*")]
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / groups.name(1, 1, 0).split("/")[1]).touch()  # in the way
    assert not groups.are_allowed()
