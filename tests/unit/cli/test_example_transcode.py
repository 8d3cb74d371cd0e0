"""The example's parts that need no service: cutting, probing, and what is shown."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.batch import models
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

EXAMPLES = Path(__file__).parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))

from story import steps  # noqa: E402 -- found only after the path
from story.failure import DemoFailed  # noqa: E402
from transcode import films, progress, report, work  # noqa: E402

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def a_film(frames: int = 250, frames_per_s: float = 25.0) -> films.Film:
    return films.Film(Path("bikes.mp4"), "h264", frames / frames_per_s, frames_per_s, frames)


def a_task(state: str = "completed", **lote: float) -> models.BatchTask:
    execution = {
        "startTime": (NOON + timedelta(seconds=2)).isoformat(),
        "endTime": (NOON + timedelta(seconds=5)).isoformat(),
        "exitCode": 0,
        "retryCount": 0,
        "requeueCount": 0,
    }
    if lote:
        execution["lote"] = lote
    node = {"nodeId": "n1"}
    shown = {"id": "bikes-01", "state": state, "creationTime": NOON.isoformat()}
    return models.BatchTask({**shown, "executionInfo": execution, "nodeInfo": node})


def shown(thing: object) -> str:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(thing)
    return console.export_text()


@given(frames=st.integers(1, 5000), count=st.integers(1, 40))
def test_segments_are_the_whole_film_without_gap_or_overlap(frames, count):
    segments = films.cut(a_film(frames), count)
    assert sum(segment.frames for segment in segments) == frames
    at = 0
    for segment in segments:
        assert segment.start_s == pytest.approx(at / 25.0)
        at += segment.frames
    assert len({segment.task_id for segment in segments}) == count


def test_real_film_is_decoded_and_counted():
    film = films.probe(films.find_ffmpeg(), films.find_films()[1])
    assert (film.name, film.codec, film.frames, film.seconds) == ("bikes", "h264", 250, 10.0)


def test_what_is_no_film_is_said(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no film")
    with pytest.raises(DemoFailed, match="can't read"):
        films.probe(films.find_ffmpeg(), path)


def test_join_waits_for_every_segment():
    film = a_film()
    segments = films.cut(film, 3)
    task = work.join_task([film], {"bikes": "http://x"}, segments, "http://y")
    assert task.depends_on is not None
    assert task.depends_on.task_ids == ["bikes-01", "bikes-02", "bikes-03"]


def test_spans_of_this_service_are_shown():
    told = a_task(downloadSeconds=0.5, runSeconds=2.25, uploadSeconds=0.25)
    assert report.spans(told) == ["2.00", "0.50", "2.25", "0.25", "3.00"]


def test_other_services_have_start_and_end_only():
    assert report.spans(a_task()) == ["2.00", "-", "-", "-", "3.00"]


def test_pictures_name_the_task_and_its_node():
    for thing in (progress.picture([a_task()]), report.task_table([a_task()])):
        text = shown(thing)
        assert "bikes-01" in text
        assert "n1" in text
    assert "1/1 tasks" in shown(progress.picture([a_task()]))


def test_place_of_a_step_is_its_source():
    place = steps.place_of(films.cut)
    name, _, lines = place.partition(":")
    first, last = map(int, lines.split("-"))
    text = (EXAMPLES.parent / name).read_text().splitlines()
    assert text[first - 1].startswith("def cut(")
    assert first < last
