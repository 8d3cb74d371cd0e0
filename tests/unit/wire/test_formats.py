"""Timestamps, dates, ETags, durations and ids, in and out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.errors import Refused
from lote.wire.formats import (
    UNLIMITED_DURATION,
    check_id,
    etag_of,
    format_duration,
    format_http_date,
    format_timestamp,
    parse_duration,
    parse_http_date,
    parse_timestamp,
)

MOMENT_US = 1_729_732_518_995_508  # 2024-10-24T01:15:18.995508Z
any_moment_us = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (MOMENT_US, "2024-10-24T01:15:18.995508Z"),
        (MOMENT_US // 1_000_000 * 1_000_000, "2024-10-24T01:15:18Z"),
        (MOMENT_US // 1_000_000 * 1_000_000 + 500_000, "2024-10-24T01:15:18.5Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_timestamp_is_utc_with_its_trailing_zeros_trimmed(us: int, text: str):
    assert format_timestamp(us) == text


@given(any_moment_us)
def test_a_timestamp_survives_the_round_trip(us: int):
    assert parse_timestamp(format_timestamp(us)) == us


@pytest.mark.parametrize(
    "text",
    [
        "2024-10-24T01:15:18.9955081Z",  # 7 digits of .NET: the last one drops
        "2024-10-24T03:15:18.995508+02:00",
        "2024-10-23T20:15:18.995508-0500",
        "2024-10-24 01:15:18.995508",
        "2024-10-24t01:15:18.995508z",
    ],
)
def test_timestamps_of_other_spellings_are_read(text: str):
    assert parse_timestamp(text) == MOMENT_US


@pytest.mark.parametrize(
    "text",
    ["", "now", "2024-13-01T00:00:00Z", "2024-02-30", "2024-10-24T25:00:00Z", "x" * 5000,
     "0000-01-01", "2024-10-24T01:15:18+99:00", "0001-01-01T00:00:00+01:00",
     "٢٠٢٤-10-24T01:15:18Z"],
)  # fmt: skip
def test_what_is_no_timestamp_is_a_value_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - each place that calls it names its own member
        parse_timestamp(text)


@given(st.text())
def test_any_text_is_a_moment_or_a_value_error(text: str):
    for parse in (parse_timestamp, parse_http_date, parse_duration):
        try:
            parse(text)
        except ValueError:
            continue


def test_an_http_date_is_truncated_to_the_second():
    assert format_http_date(MOMENT_US) == "Thu, 24 Oct 2024 01:15:18 GMT"


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 24 Oct 2024 01:15:18 GMT",
        "Thursday, 24-Oct-24 01:15:18 GMT",
        "24 Oct 2024 01:15:18 GMT",
        "2024-10-24T01:15:18Z",
    ],
)
def test_http_dates_are_read(text: str):
    assert parse_http_date(text) == MOMENT_US // 1_000_000 * 1_000_000


def test_an_etag_is_the_ticks_of_its_moment():
    assert etag_of(1_729_732_518_995_508) == "0x8DCF3C953387E08"  # recorded …E09 has a 7th digit, 1


@given(any_moment_us, any_moment_us)
def test_etags_differ_as_their_moments_do(a_us: int, b_us: int):
    assert (etag_of(a_us) == etag_of(b_us)) is (a_us == b_us)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, UNLIMITED_DURATION),
        (float("inf"), UNLIMITED_DURATION),
        (0, "PT0S"),
        (900, "PT15M"),
        (7 * 86400, "P7D"),
        (86400, "P1D"),
        (131405, "P1DT12H30M5S"),
        (3.5, "PT3.5S"),
        (0.0000001, "PT0.0000001S"),
        (1279 * 86400 + 45005, "P1279DT12H30M5S"),
        (-60, "-PT1M"),
    ],
)
def test_a_duration_counts_days_upward_only(seconds: float | None, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P", 0),
        ("P0D", 0),
        ("PT15M00S", 900),
        ("P1DT02H00M03.5S", 93603.5),
        ("PT01H00M00S", 3600),
        ("P3Y6M4DT12H30M5S", 1279 * 86400 + 45005),
        ("P2W", 14 * 86400),
        ("pt1m", 60),
        ("PT0,5S", 0.5),
        ("1.02:03:04.5", 93784.5),
        ("00:05:00", 300),
        ("-PT1M", -60),
        (UNLIMITED_DURATION, None),
        ("P99999999D", None),
    ],
)
def test_durations_of_all_clients_are_read(text: str, seconds: float | None):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "15", "PT", "P1", "1:99:00", "25:00:00", "PT5X", "T5M", "P-1D", "P" + "9" * 500 + "D"],
)
def test_what_is_no_duration_is_refused_except_empty_parts(text: str):
    if text == "PT":  # .NET's and Python's clients both write zero without any part
        assert parse_duration(text) == 0
        return
    with pytest.raises(ValueError):  # noqa: PT011 - the caller names the member
        parse_duration(text)


@given(st.integers(0, 9_000_000_000_000_000))
def test_a_duration_survives_the_round_trip(ten_us: int):
    seconds = ten_us / 100_000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-15, abs=1e-7)


@pytest.mark.parametrize("value", ["a", "A-b_9", "x" * 64, "-", "0"])
def test_ids_are_accepted(value: str):
    check_id("id", value)


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "a:job-1", "a\n", "ä", "a/b", "a.b"])
def test_bad_ids_are_refused_by_name(value: str):
    with pytest.raises(Refused) as caught:
        check_id("id", value)
    assert caught.value.code == "InvalidPropertyValue"
    assert ("PropertyName", "id") in caught.value.values
