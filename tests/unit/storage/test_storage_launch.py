"""A storage process is started once the one before it has let the folder go."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lote.storage import launch
from lote.storage.depot import lock_folder


def test_a_folder_that_nobody_has_is_not_waited_for(tmp_path: Path) -> None:
    asyncio.run(launch.await_folder(tmp_path))
    (tmp_path / "lock").touch()
    asyncio.run(launch.await_folder(tmp_path))


def test_a_folder_is_waited_for_until_it_is_let_go(tmp_path: Path) -> None:
    async def scenario() -> None:
        held = lock_folder(tmp_path)
        waiting = asyncio.create_task(launch.await_folder(tmp_path))
        await asyncio.sleep(0)
        assert not waiting.done()
        os.close(held)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scenario())


def test_a_folder_that_is_not_let_go_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "RELEASE_S_MAX", 0.1)
    lock_folder(tmp_path)
    with pytest.raises(launch.StorageFailed, match="another process serves"):
        asyncio.run(launch.await_folder(tmp_path))
