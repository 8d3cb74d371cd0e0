"""What operands of `lote storage` mean, patterns, targets, times: nothing here talks to storage."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.blobs.failure import BlobError
from lote.blobs.reach import reach_of_connection_string
from lote.cli.storage.failures import explain
from lote.cli.storage.names import BadName, Local, Remote, Stream, parse_place, parse_remote
from lote.cli.storage.patterns import base_of, fixed_prefix, matches
from lote.cli.storage.spans import BadTime, human_size, parse_moment
from lote.cli.storage.targets import BadPath, Target, Unclear, check_relative, target_of

NOON_US = 1_900_000_000_000_000


def test_three_spellings_and_nothing_between():
    assert parse_place("-") == Stream()
    assert parse_place("az/box") == Local("az/box")
    assert parse_place("az://box/a b/c") == Remote(None, "box", "a b/c")
    assert parse_place("az://box/") == Remote(None, "box", "", is_folder=True)
    url = parse_place("https://acme.blob.core.windows.net/box/a%20b?sig=x&sp=r")
    assert isinstance(url, Remote)
    assert (url.container, url.name, url.is_exact) == ("box", "a b", True)
    assert url.reach is not None
    assert (url.reach.endpoint, url.reach.sas) == (
        "https://acme.blob.core.windows.net",
        "sig=x&sp=r",
    )


@pytest.mark.parametrize("text", ["s3://a/b", "", "az:///x", "az://b*x/y", "https://host/only"])
def test_names_that_are_not_understood(text):
    with pytest.raises(BadName):
        parse_place(text)


def test_a_name_without_az_is_no_name_in_storage():
    with pytest.raises(BadName, match=r"az://box/x"):
        parse_remote("box/x")


def test_signatures_stay_out_of_messages():
    with pytest.raises(BadName) as caught:
        parse_remote("box/x?sig=hidden")
    assert "hidden" not in str(caught.value)
    url = parse_remote("https://acme.blob.core.windows.net/box/x?sig=hidden")
    assert "hidden" not in url.shown + repr(url)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/*.txt", ["a/b.txt", "a/.txt"], ["a/b/c.txt", "b.txt", "a/b.txt2"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["xx", "a/xb"]),
        ("a[*]", ["a*"], ["ab"]),
        ("?", ["a", "ä"], ["", "ab", "/"]),
    ],
)
def test_patterns(pattern, yes, no):
    assert [name for name in yes if not matches(pattern, name)] == []
    assert [name for name in no if matches(pattern, name)] == []


def test_a_pattern_may_mean_folders():
    assert matches("log*", "logs/a/b", or_above=True)
    assert not matches("log*", "logs/a/b")
    assert base_of("a/b*/c") == "a/"
    assert fixed_prefix("a/b*/c") == "a/b"


names = st.text(alphabet="ab*?[].", max_size=8)


@given(names, names)
def test_one_segment_is_as_in_a_shell(pattern, name):
    shell = re.fullmatch(translate(pattern), name) is not None
    assert matches(pattern, name) == (shell or (pattern == "**"))


parts = st.lists(st.sampled_from(["a", "ab", "b", "*", "a*", "**"]), min_size=1, max_size=5)


@given(parts, parts)
def test_every_match_begins_with_the_fixed_prefix(wanted, name):
    if matches("/".join(wanted), "/".join(name)):
        assert "/".join(name).startswith(fixed_prefix("/".join(wanted)))


@given(parts)
def test_a_name_is_matched_by_itself(name):
    assert matches("/".join(name), "/".join(name))


INTO = Target("x", is_folder=True, exists=False, shown="x/")
AS = Target("x", is_folder=False, exists=False, shown="x")
THERE = Target("x", is_folder=False, exists=True, shown="x")


def test_where_things_go():
    assert INTO.name_for("one", "f", "f") == "x/f"
    assert AS.name_for("one", "f", "f") == "x"
    assert THERE.name_for("one", "f", "f") == "x/f"
    assert INTO.name_for("folder", "d", "a/b") == "x/d/a/b"
    assert AS.name_for("folder", "d", "a/b") == "x/a/b"
    for target in (INTO, AS, THERE):
        assert target.name_for("contents", "d", "a/b") == "x/a/b"
        assert target.name_for("match", "", "a/b") == "x/a/b"
    with pytest.raises(Unclear, match="x/ to put d into it"):
        THERE.name_for("folder", "d", "a/b")


def test_folders_by_their_spelling(tmp_path):
    assert target_of(Local(".")).is_folder
    assert target_of(Local(f"{tmp_path}/")).is_folder
    assert not target_of(Local(str(tmp_path))).is_folder
    assert target_of(Local(str(tmp_path))).exists
    assert target_of(Local("/")).name_for("one", "f", "f") == "/f"
    assert target_of(parse_remote("az://box")).exists
    assert target_of(parse_remote("az://box/")).name_for("folder", "d", "a") == "d/a"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//b", "a/", ".", "a\0b"])
def test_names_that_lead_elsewhere_are_no_paths(name):
    with pytest.raises(BadPath):
        check_relative(name)


def test_sizes():
    shown = [human_size(size) for size in (0, 999, 1000, 1024, 1 << 20, 10_485_000, 1 << 50)]
    assert shown == ["0 B", "999 B", "0.98 KiB", "1.00 KiB", "1.00 MiB", "10.0 MiB", "1.00 PiB"]


@given(st.integers(min_value=0, max_value=1 << 62))
def test_a_size_is_short(size):
    amount, _, unit = human_size(size).partition(" ")
    assert len(amount) <= 4
    assert unit


def test_moments():
    now = datetime.fromtimestamp(NOON_US / 1e6, UTC)
    assert (parse_moment("1d12h", NOON_US) - now).total_seconds() == 36 * 3600
    assert parse_moment("2030-01-31", NOON_US) == datetime(2030, 1, 31, tzinfo=UTC)
    assert parse_moment("2030-01-31T18:00+02:00", NOON_US).hour == 16
    for text in ("", "2", "h", "2h and more", "tomorrow", "99999999999w", "-2h"):
        with pytest.raises(BadTime):
            parse_moment(text, NOON_US)


def test_connection_strings():
    with_sas = (
        "BlobEndpoint=https://acme.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=a=="
    )
    reach = reach_of_connection_string(with_sas)
    assert reach[:2] == ("https://acme.blob.core.windows.net", "acme")
    assert reach.sas == "sv=1&sig=a=="
    with_key = reach_of_connection_string("AccountName=acme;AccountKey=a2V5")
    assert with_key.endpoint == "https://acme.blob.core.windows.net"
    assert "a2V5" not in repr(with_key)
    assert reach_of_connection_string("UseDevelopmentStorage=true").name == "devstoreaccount1"
    for text in (
        "",
        "AccountName=acme",
        "AccountKey=secret",
        "BlobEndpoint=ftp://x;SharedAccessSignature=s",
    ):
        with pytest.raises(ValueError, match="connection string") as caught:
            reach_of_connection_string(text)
        assert "secret" not in str(caught.value)


def test_failures_are_one_line():
    denied = BlobError(
        "access_denied", "http://h/c?sig=hidden", "no", status=403, code="AuthenticationFailed"
    )
    unknown = BlobError("misc", "http://h/c", "what\nmore", status=418, code="Teapot")
    for error in (denied, unknown, OSError(28, "No space left on device"), ValueError("a\nb")):
        assert "\n" not in explain(error)
        assert "hidden" not in explain(error)
    assert explain(unknown) == "the service answered 418 Teapot: what"
