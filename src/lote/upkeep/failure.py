"""What goes wrong when a folder is copied or made anew."""

from __future__ import annotations


class BackupFailed(Exception):
    """No backup was made; nothing is left of the attempt. The text is for people."""


class RestoreFailed(Exception):
    """The folder was not made from the backup. The text is for people."""
