"""What the end of a task does, by its exit conditions (REST: ExitConditions)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.domain.task import EndActions, FailureKind, exit_options

CONDITIONS = {
    "exitCodes": [
        {"code": 0, "exitOptions": {"jobAction": "disable"}},
        {"code": 3, "exitOptions": {"jobAction": "none", "dependencyAction": "satisfy"}},
    ],
    "exitCodeRanges": [
        {"start": 2, "end": 5, "exitOptions": {"jobAction": "disable"}},
        {"start": -9, "end": -9, "exitOptions": {"dependencyAction": "satisfy"}},
    ],
    "preProcessingError": {"jobAction": "none"},
    "fileUploadError": {"dependencyAction": "satisfy"},
    "default": {"jobAction": "disable", "dependencyAction": "satisfy"},
}
DEFAULT = EndActions("disable", "satisfy")


@pytest.mark.parametrize(
    ("exit_code", "kind", "wanted"),
    [
        (0, None, EndActions("disable", "satisfy")),
        (3, "exit_code", EndActions("none", "satisfy")),  # the code goes before its range
        (2, "exit_code", EndActions("disable", "block")),
        (5, "exit_code", EndActions("disable", "block")),
        (-9, "exit_code", EndActions("terminate", "satisfy")),
        (6, "exit_code", DEFAULT),
        (3, "file_upload", EndActions("none", "satisfy")),  # a listed code beats the upload
        (7, "file_upload", EndActions("terminate", "satisfy")),
        (None, "pre_processing", EndActions("none", "block")),
        (-9, "ended", DEFAULT),  # an ended task has no listed code
        (None, "ended", DEFAULT),
    ],
)
def test_resolution(exit_code: int | None, kind: FailureKind | None, wanted: EndActions) -> None:
    assert exit_options(CONDITIONS, exit_code, kind) == wanted


def test_built_in_actions() -> None:
    assert exit_options(None, 0, None) == EndActions("none", "satisfy")
    assert exit_options(None, 1, "exit_code") == EndActions("terminate", "block")
    assert exit_options({}, None, "pre_processing") == EndActions("terminate", "block")
    assert exit_options(None, 0, "file_upload") == EndActions("terminate", "block")


def test_default_does_not_cover_success() -> None:
    assert exit_options({"default": {"dependencyAction": "block"}}, 0, None).dependency_action == (
        "satisfy"
    )


def test_default_stands_in_for_special_errors() -> None:
    conditions = {"default": {"jobAction": "none"}}
    for code, kind in ((None, "pre_processing"), (0, "file_upload")):
        assert exit_options(conditions, code, kind) == EndActions("none", "block")  # type: ignore[arg-type]


def as_struct(value: object) -> object:
    """The same as an object with attributes, as the wire decodes it."""
    snake = {
        "exitCodes": "exit_codes",
        "exitCodeRanges": "exit_code_ranges",
        "preProcessingError": "pre_processing_error",
        "fileUploadError": "file_upload_error",
        "exitOptions": "exit_options",
        "jobAction": "job_action",
        "dependencyAction": "dependency_action",
    }
    if isinstance(value, list):
        return [as_struct(item) for item in value]
    if isinstance(value, dict):
        return SimpleNamespace(**{snake.get(k, k): as_struct(v) for k, v in value.items()})
    return value


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "jobAction": st.sampled_from(["none", "disable", "terminate"]),
        "dependencyAction": st.sampled_from(["satisfy", "block"]),
    },
)
CODES = st.integers(-3, 3)
ANY_CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "exitCodes": st.lists(st.fixed_dictionaries({"code": CODES, "exitOptions": OPTIONS})),
        "exitCodeRanges": st.lists(
            st.fixed_dictionaries({"start": CODES, "end": CODES, "exitOptions": OPTIONS})
        ),
        "preProcessingError": OPTIONS,
        "fileUploadError": OPTIONS,
        "default": OPTIONS,
    },
)
KINDS = st.sampled_from([None, "pre_processing", "exit_code", "file_upload", "ended"])


@given(conditions=ANY_CONDITIONS, code=st.none() | CODES, kind=KINDS)
def test_json_and_struct_agree(
    conditions: dict[str, object], code: int | None, kind: FailureKind | None
) -> None:
    actions = exit_options(conditions, code, kind)
    assert actions == exit_options(as_struct(conditions), code, kind)
    assert actions.job_action in ("none", "disable", "terminate")
    assert actions.dependency_action in ("satisfy", "block")
