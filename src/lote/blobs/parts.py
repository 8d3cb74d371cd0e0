"""How a large file is cut into blocks."""

from __future__ import annotations

from base64 import b64encode

BLOCK_BYTES = 8 * 1024 * 1024
BLOCKS_MAX = 50_000  # REST: Put Block List


def block_size(size_bytes: int) -> int:
    """The size of each block but the last, in bytes, so that ``BLOCKS_MAX`` are enough."""
    return max(BLOCK_BYTES, -(-size_bytes // BLOCKS_MAX))


def block_id(index: int) -> str:
    """A block's id: base64, and of one length for all blocks, as the protocol demands."""
    return b64encode(b"lote-%08d" % index).decode()
