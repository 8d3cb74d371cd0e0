"""Finding a service: ready files, the environment, and clear words when there is none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lote.cli.announce import announcement
from lote.cli.ready import (
    NoService,
    account_of,
    exports,
    find_service,
    read_ready,
)

ENVIRONMENT = {
    "AZURE_BATCH_ACCOUNT": "acc",
    "AZURE_BATCH_ACCESS_KEY": "a2V5",
    "AZURE_BATCH_ENDPOINT": "batch.example.org",
    "LOTE_DATA": "/nowhere",
}


@pytest.fixture
def endpoint() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def write_ready(folder: Path, endpoint: str) -> None:
    batch = {"endpoint": endpoint, "account": "lote", "key": "a2V5", "key2": "b2V5"}
    storage = {"account": "st", "key": "c2V5", "connection_string": "X=1;Y=2", "blob_endpoint": "b"}
    text = json.dumps({"pid": 1, "batch": batch, "storage": storage, "apps": {"endpoint": "x"}})
    (folder / "ready.json").write_text(text)


def test_running_service_is_found(tmp_path, endpoint):
    write_ready(tmp_path, endpoint)
    ready = find_service({"LOTE_DATA": str(tmp_path)}, None)
    assert account_of(ready)[:3] == ("lote", "a2V5", endpoint)


def test_exports_are_what_official_tools_read(tmp_path, endpoint):
    write_ready(tmp_path, endpoint)
    assert exports(read_ready(tmp_path)) == {
        "AZURE_BATCH_ACCOUNT": "lote",
        "AZURE_BATCH_ACCESS_KEY": "a2V5",
        "AZURE_BATCH_ENDPOINT": endpoint,
        "AZURE_STORAGE_CONNECTION_STRING": "X=1;Y=2",
        "AZURE_STORAGE_ACCOUNT": "st",
        "AZURE_STORAGE_KEY": "c2V5",
    }


def test_folder_without_service(tmp_path):
    with pytest.raises(NoService, match="lote serve --data"):
        read_ready(tmp_path)


def test_file_of_a_service_that_has_gone(tmp_path, endpoint):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"http://127.0.0.1:{listener.getsockname()[1]}"
    write_ready(tmp_path, gone)
    with pytest.raises(NoService, match="no longer runs"):
        read_ready(tmp_path)


def test_damaged_file(tmp_path):
    (tmp_path / "ready.json").write_text("{")
    with pytest.raises(NoService, match="not a ready file"):
        read_ready(tmp_path)


def test_environment_names_a_service_anywhere():
    ready = find_service(ENVIRONMENT, None)
    assert account_of(ready)[:3] == ("acc", "a2V5", "https://batch.example.org")
    assert ready.storage is None


def test_folder_given_by_hand_wins_over_the_environment(tmp_path, endpoint):
    write_ready(tmp_path, endpoint)
    assert find_service(ENVIRONMENT, tmp_path).batch.account == "lote"


def test_environment_with_something_missing():
    with pytest.raises(NoService, match="AZURE_BATCH_ACCESS_KEY"):
        find_service({**ENVIRONMENT, "AZURE_BATCH_ACCESS_KEY": ""}, None)


def test_announcement_shows_keys_only_the_first_time(tmp_path, endpoint):
    write_ready(tmp_path, endpoint)
    ready = read_ready(tmp_path)
    first = announcement(ready, tmp_path, first=True)
    later = announcement(ready, tmp_path, first=False)
    assert all(key in first for key in ("a2V5", "b2V5", "c2V5"))
    assert not any(key in later for key in ("a2V5", "b2V5", "c2V5", "X=1"))
    assert endpoint in first
    assert endpoint in later
