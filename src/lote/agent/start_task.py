"""x"""

from __future__ import annotations


class StartTask:
    def __init__(self, *a):
        pass

    def set_up(self, *a):
        pass

    def note(self, *a):
        pass

    def close(self):
        pass
