"""The terms of shared access signatures: when, whence, for which services they are good. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from lote.storage.call import Call
from lote.storage.container import Policy
from lote.storage.errors import Refused, failed, invalid_query
from lote.storage.operations import Operation
from lote.storage.signatures import OVERRIDES
from lote.storage.times import parse_iso_time

LEVEL_TYPES = {"service": "s", "container": "c", "blob": "o"}
POLICY_FIELDS = {"st": "start", "se": "expiry", "sp": "permissions"}
OVERRIDE_HEADERS = dict(
    zip(
        OVERRIDES,
        (
            "Cache-Control",
            "Content-Disposition",
            "Content-Encoding",
            "Content-Language",
            "Content-Type",
        ),
        strict=True,
    )
)


def with_policy(sent: Mapping[str, str], policy: Policy) -> dict[str, str]:
    """A signature's terms completed by its policy. Refuses: terms that both name."""
    terms = dict(sent)
    for name, attribute in POLICY_FIELDS.items():
        value = getattr(policy, attribute)
        if value and sent.get(name):
            raise failed(f"{name} is given by the signature and by its access policy.")
        if value:
            terms[name] = value
    return terms


def parse_overrides(sent: Mapping[str, str]) -> dict[str, str]:
    """Answer headers that a signature sets. Refuses: InvalidQueryParameterValue for line ends."""
    for name in OVERRIDES:
        if not sent.get(name, " ").isprintable():
            raise invalid_query(name, sent[name])
    return {header: sent[name] for name, header in OVERRIDE_HEADERS.items() if name in sent}


def check_times(sas: Mapping[str, str], now_us: int) -> None:
    """Refuses: AuthenticationFailed before the start and from the expiry on."""
    try:
        start_us = parse_iso_time(sas["st"]) if sas.get("st") else 0
        expiry_us = parse_iso_time(sas.get("se", ""))
    except ValueError:
        raise failed("Signed start or expiry is missing or not a time.") from None
    if not start_us <= now_us < expiry_us:
        raise failed("Signature not valid in the specified time frame.")


def check_origin(sas: Mapping[str, str], call: Call) -> None:
    """Refuses: AuthorizationProtocolMismatch, AuthorizationSourceIPMismatch."""
    if call.scheme not in sas.get("spr", "https,http").split(","):
        raise Refused("AuthorizationProtocolMismatch")
    if not sas.get("sip"):
        return
    first, _, last = sas["sip"].partition("-")
    try:
        client = ipaddress.ip_address(call.client_host)
        inside = (
            int(ipaddress.ip_address(first))
            <= int(client)
            <= int(ipaddress.ip_address(last or first))
        )
    except ValueError:
        inside = False
    if not inside:
        raise Refused("AuthorizationSourceIPMismatch")


def check_reach(sas: Mapping[str, str], call: Call, operation: Operation) -> None:
    """Services and resource types of an account SAS."""
    if "b" not in sas.get("ss", ""):
        raise Refused("AuthorizationServiceMismatch")
    types = operation.resource if len(operation.resource) == 1 else LEVEL_TYPES[call.level]
    if types not in sas.get("srt", ""):
        raise Refused("AuthorizationResourceTypeMismatch")
