"""Settings that cannot be right are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lote.cli.given import BadSetting, check_settings
from lote.settings import ENVIRONMENT, Settings, settings_from

LEAST = {
    "pool_quota": 0,
    "active_job_and_schedule_quota": 0,
    "dedicated_core_quota": 0,
    "low_priority_core_quota": 0,
    "scale_interval_min_s": 1,
    "scale_history_s": 60,
}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_a_limit_that_is_too_low_is_named(name, least):
    given = {"LOTE_DATA": "/data", ENVIRONMENT[name]: str(least - 1)}
    with pytest.raises(BadSetting, match=f"{ENVIRONMENT[name]} must be {least} or more"):
        check_settings(settings_from(given))
    check_settings(settings_from(given | {ENVIRONMENT[name]: str(least)}))


def test_no_limits_are_fine():
    check_settings(Settings(folder=Path("/data")))
