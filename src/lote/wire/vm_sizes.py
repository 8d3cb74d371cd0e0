"""How many cores a VM size has, by its name.

The number after the family's letters is the core count for all sizes of today; older families that
numbered their sizes otherwise are tabled. Source: the provider's pages on VM sizes.
"""

from __future__ import annotations

import re

from lote.wire.errors import invalid_property

CORES_MAX = 2048  # ours: above the largest size there is

_SIZE = re.compile(
    r"(?:standard_|basic_)?(?P<family>[a-z]+)(?P<number>\d{1,4})(?:-(?P<cores>\d{1,4}))?"
    r"(?P<rest>[a-z]*(?:_[a-z0-9]+)*)",
    re.ASCII,
)
_A_SERIES = (1, 1, 2, 4, 8, 2, 4, 8, 8, 16, 8, 16)  # A0 … A11
_D_SERIES = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20}  # D, DS, v1 and v2
_G_SERIES = {1: 2, 2: 4, 3: 8, 4: 16, 5: 32}
_CLOUD_SERVICE = {"extrasmall": 1, "small": 1, "medium": 2, "large": 4, "extralarge": 8}


def cores_of(vm_size: str) -> int:
    """The cores of a VM size, in any case. Refuses: InvalidPropertyValue for one not known."""
    name = vm_size.strip().lower().removesuffix("_promo")
    cores = _CLOUD_SERVICE.get(name)
    if cores is None:
        found = _SIZE.fullmatch(name)
        cores = _cores_by_name(found) if found is not None else None
    if cores is None or not 1 <= cores <= CORES_MAX:
        raise invalid_property("vmSize", vm_size, "There is no VM size of this name.")
    return cores


def _cores_by_name(found: re.Match[str]) -> int | None:
    if found["cores"] is not None:
        return int(found["cores"])  # a size with some of its cores switched off
    family, number, rest = found["family"], int(found["number"]), found["rest"]
    if family == "a" and rest == "":
        return _A_SERIES[number] if number < len(_A_SERIES) else None
    if family in ("d", "ds") and rest in ("", "_v2"):
        return _D_SERIES.get(number)
    if family in ("g", "gs"):
        return _G_SERIES.get(number)
    return number
