"""All engines by name. A new engine is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from lote.engines.fake import FakeEngine
from lote.engines.local import LocalEngine
from lote.engines.seam import Engine

ON_THIS_MACHINE = frozenset({LocalEngine.name, FakeEngine.name})
"""Engines whose nodes are all on the machine of the service, with its addresses."""

ENGINES: dict[str, Callable[..., Engine]] = {
    LocalEngine.name: LocalEngine,
    FakeEngine.name: FakeEngine,
}
