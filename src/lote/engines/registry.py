"""All engines by name. A new engine is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from lote.engines.fake import FakeEngine
from lote.engines.local import LocalEngine
from lote.engines.seam import Engine

ENGINES: dict[str, Callable[..., Engine]] = {
    LocalEngine.name: LocalEngine,
    FakeEngine.name: FakeEngine,
}
