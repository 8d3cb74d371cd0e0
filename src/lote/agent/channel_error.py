"""When the other end of the channel breaks the rules."""

from __future__ import annotations


class ChannelError(Exception):
    """A message that no server of this protocol sends; the channel is dialled anew."""
