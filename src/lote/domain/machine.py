"""State machines as data: one table from which the rule, the SQL guard and the picture follow.

States are spelled as on the wire. An edge that is not in a table does not exist; there are no
hops through a third state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Move(NamedTuple):
    """One row: on ``event``, from any of ``sources`` to ``target``."""

    event: str
    sources: tuple[str, ...]
    target: str


class WrongState(Exception):
    """``event`` is not allowed in ``state``. The caller turns it into the noun's error code."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        self.machine = machine
        self.state = state
        self.event = event
        super().__init__(f"{machine}: no {event!r} while {state!r}")


class Machine:
    """A table of moves. ``final`` are the states in which a thing may rest for good."""

    def __init__(
        self, name: str, initial: str, moves: Iterable[Move], final: Iterable[str]
    ) -> None:
        self.name = name
        self.initial = initial
        self.moves = tuple(moves)
        self.final = frozenset(final)
        self._after: dict[tuple[str, str], str] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        for move in self.moves:
            for source in move.sources:
                if (source, move.event) in self._after:
                    raise ValueError(f"{name}: two rows for {move.event!r} from {source!r}")
                self._after[source, move.event] = move.target
            self._sources[move.event] = self._sources.get(move.event, ()) + move.sources
        named = [initial, *self.final]
        named += [state for move in self.moves for state in (*move.sources, move.target)]
        self.states = tuple(dict.fromkeys(named))
        self.events = tuple(self._sources)

    def after(self, state: str, event: str) -> str:
        """The state that follows. Raises WrongState when the table has no such row."""
        try:
            return self._after[state, event]
        except KeyError:
            raise WrongState(self.name, state, event) from None

    def allows(self, state: str, event: str) -> bool:
        """True when ``event`` is allowed in ``state``."""
        return (state, event) in self._after

    def sources(self, event: str) -> tuple[str, ...]:
        """All states from which ``event`` is allowed, for SQL guards. KeyError: no such event."""
        return self._sources[event]

    def mermaid(self) -> str:
        """The machine as a Mermaid state diagram, for the documentation."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for move in self.moves:
            lines += [f"    {source} --> {move.target}: {move.event}" for source in move.sources]
        lines += [f"    {state} --> [*]" for state in sorted(self.final)]
        return "\n".join(lines)
