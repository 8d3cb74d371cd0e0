"""The two kinds of protocol structs: those a client gives and those the service shows."""

from __future__ import annotations

from msgspec import Struct


class Given(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A request body or a part of one: members it does not know are refused."""


class Shown(Struct, rename="camel", omit_defaults=True):
    """An answer or a part of one: members that are absent are left out, never null."""
