from __future__ import annotations

import pytest
from storage_rig import running


@pytest.fixture
def rig(tmp_path):
    with running(tmp_path) as one:
        one.make_box()
        yield one
