"""x"""

from __future__ import annotations


class Streams:
    def __init__(self, *a):
        pass

    def answer(self, f):
        raise NotImplementedError

    def close(self):
        pass
