"""Request bodies into structs: fast when they are as documented, patient when they are not.

A body goes through msgspec's typed decoder. Only if that fails is it read again without types and
fitted to the struct member by member, which forgives what real clients send (numbers as strings,
enums in another case, read-only members, a byte order mark) and names what it cannot forgive.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import msgspec

from lote.wire.errors import Refused
from lote.wire.fitting import fit_struct

T = TypeVar("T", bound=msgspec.Struct)

_REASON_CHARS_MAX = 200  # ours: enough for a place and a word
BOM = b"\xef\xbb\xbf"


_untyped = msgspec.json.Decoder()


_lax_decoders: dict[type, Any] = {}  # struct → its decoder; a dict, as a generic cache loses T


def decode(data: bytes, struct: type[T]) -> T:
    """Read a request body as ``struct``.

    Refuses: InvalidRequestBody (not JSON, not an object), MissingRequiredProperty,
    InvalidPropertyValue, UnsupportedProperty.
    """
    try:
        return _lax_decoder(struct).decode(data)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return decode_patiently(data, struct)


def _lax_decoder(struct: type[T]) -> msgspec.json.Decoder[T]:
    decoder: msgspec.json.Decoder[T] | None = _lax_decoders.get(struct)
    if decoder is None:
        decoder = _lax_decoders[struct] = msgspec.json.Decoder(struct, strict=False)
    return decoder


def decode_patiently(data: bytes, struct: type[T]) -> T:
    """The same for a body that the typed decoder did not take."""
    found: Any = None
    try:
        found = _untyped.decode(data.removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        refuse_body(error)
    if not isinstance(found, dict):
        refuse_body()
    fitted = fit_struct(found, struct)
    try:
        return msgspec.convert(fitted, struct)
    except (msgspec.ValidationError, RecursionError) as error:
        refuse_body(error)


def refuse_body(error: Exception | None = None) -> NoReturn:
    """Refuse what is no JSON object (InvalidRequestBody), saying where it is not.

    The decoder's words tell a place and what is wrong there, never what the body says.
    """
    reason = "A JSON object is expected."
    if error is not None:
        reason = f"{reason} {str(error)[:_REASON_CHARS_MAX]}"
    raise Refused("InvalidRequestBody", values=[("Reason", reason)]) from None
