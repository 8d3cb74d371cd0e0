"""What an agent is told when it is started: one JSON line on its standard input."""

from __future__ import annotations

import msgspec


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who the agent is and whom it calls. ``secret`` is never written anywhere.

    ``task_uid_base``: first of the numbers that tasks' users get, if the agent is root.
    ``grace_s``: how long the server waits for an agent that is away. ``container_command`` and
    ``container_options``: what runs containers, as words of a shell. ``transfer_silence_s``: how
    long a source or a target of tasks' files may be silent; ``transfer_attempts``: how often in a
    row one is tried. Unknown members are ignored.
    """

    node_id: str
    secret: str
    server_url: str
    node_dir: str
    ca_file: str | None = None
    task_uid_base: int | None = None
    grace_s: float = 60.0
    container_command: str = ""
    container_options: str = ""
    transfer_silence_s: float = 30.0
    transfer_attempts: int = 10  # half a minute of pauses: a storage that restarts costs no output

    def __repr__(self) -> str:
        return f"AgentSettings(node_id={self.node_id!r}, node_dir={self.node_dir!r})"


_DECODER = msgspec.json.Decoder(AgentSettings)


def decode_settings(line: bytes) -> AgentSettings:
    """The settings in a JSON line. Raises msgspec.DecodeError."""
    return _DECODER.decode(line)
