"""api-versions."""

from __future__ import annotations

import pytest

from lote.wire.errors import Refused
from lote.wire.versions import NEWEST, VERSIONS, at_least, check_api_version


@pytest.mark.parametrize("version", VERSIONS)
def test_known_versions_are_themselves(version: str):
    assert check_api_version(version) == version


@pytest.mark.parametrize("version", ["2026-10-01", "2025-06-01.21.0", "2099-12-31.99.0"])
def test_newer_versions_are_answered_in_the_newest(version: str):
    assert check_api_version(version) == NEWEST


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (None, "MissingRequiredQueryParameter"),
        ("", "MissingRequiredQueryParameter"),
        ("latest", "InvalidQueryParameterValue"),
        ("2025-13-01", "InvalidQueryParameterValue"),
        ("2025-06-01.x", "InvalidQueryParameterValue"),
        ("2015-12-01.2.2", "UnsupportedRequestVersion"),
        ("2024-03-01", "UnsupportedRequestVersion"),
    ],
)
def test_other_versions_are_refused(version: str | None, code: str):
    with pytest.raises(Refused) as caught:
        check_api_version(version)
    assert (caught.value.code, caught.value.status) == (code, 400)


def test_versions_are_listed_oldest_first_and_compare_by_date():
    assert list(VERSIONS) == sorted(VERSIONS)
    assert at_least("2025-06-01", "2024-07-01.20.0")
    assert at_least("2024-07-01.20.0", "2024-07-01.20.0")
    assert not at_least("2024-02-01.19.0", "2024-07-01.20.0")
