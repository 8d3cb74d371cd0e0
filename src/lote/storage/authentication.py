"""Who asks, and what that allows: shared keys and shared access signatures. No anonymous access."""

from __future__ import annotations

import ipaddress
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from lote.storage.call import EVERYTHING, Call, Grant
from lote.storage.container import Policy
from lote.storage.errors import Refused, invalid_query
from lote.storage.operations import Operation
from lote.storage.signatures import (
    OVERRIDES,
    SAS_VERSION_MIN,
    SCHEMES,
    account_sas_text,
    same_signature,
    service_sas_text,
    sign,
)
from lote.storage.times import parse_http_date, parse_iso_time

SKEW_MAX_US = 15 * 60 * 1_000_000  # REST: Authorize with Shared Key
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

FindPolicies = Callable[[str, str], Awaitable[Sequence[Policy]]]


class AccountKeys(NamedTuple):
    """An account's two keys, in base64 as clients have them."""

    key1: str
    key2: str

    def decoded(self) -> tuple[bytes, bytes]:
        """The keys as bytes. Refuses (``ValueError``): what is not base64."""
        return b64decode(self.key1, validate=True), b64decode(self.key2, validate=True)


class Authenticator:
    """Checks every request. ``find_policies(account, container)`` gives stored access policies."""

    def __init__(self, accounts: Mapping[str, AccountKeys], find_policies: FindPolicies) -> None:
        self._keys = {name: keys.decoded() for name, keys in accounts.items()}
        self._find_policies = find_policies

    def has_account(self, name: str) -> bool:
        """Whether the account is served here."""
        return name in self._keys

    async def authenticate(self, call: Call, operation: Operation) -> Grant:
        """What the request may do, enough for the operation.

        Refuses: NoAuthenticationInformation (401), AuthenticationFailed and the Authorization…
        codes (403). Never says what signature would have been right.
        """
        keys = self._keys.get(call.account)
        if keys is None:
            raise failed("The account is not known here.")
        header = call.headers.get("authorization", "")
        if header:
            check_shared_key(call, header, keys)
            return EVERYTHING
        if "sig" not in call.query:
            raise Refused("NoAuthenticationInformation", headers={"WWW-Authenticate": "SharedKey"})
        return await self.check_sas(call, call.query, operation, keys)

    async def check_sas(
        self, call: Call, sent: Mapping[str, str], operation: Operation, keys: Sequence[bytes]
    ) -> Grant:
        """What a shared access signature allows; ``sent`` is the query that has it."""
        if sent.get("sv", "") < SAS_VERSION_MIN:
            raise failed("The signed version is missing or too old.")
        if "ss" in sent or "srt" in sent:
            text, sas = account_sas_text(sent, call.account), sent
        else:
            text, sas = await self._service_sas(call, sent, operation)
        if not any(same_signature(sign(key, text), sent["sig"]) for key in keys):
            raise failed("Signature did not match.")
        check_times(sas, call.now_us)
        check_origin(sas, call)
        if "ss" in sent or "srt" in sent:
            check_reach(sent, call, operation)
        grant = Grant(frozenset(sas.get("sp", "")), parse_overrides(sent))
        if not grant.allows(operation.permits):
            raise Refused("AuthorizationPermissionMismatch")
        return grant

    async def check_source(
        self,
        call: Call,
        sent: Mapping[str, str],
        operation: Operation,
        container: str,
        blob: bytes,
    ) -> None:
        """Whether a signature in the URL of a copy's source allows to read it."""
        source = replace(call, container=container, blob=blob)
        await self.check_sas(source, sent, operation, self._keys[call.account])

    async def _service_sas(
        self, call: Call, sent: Mapping[str, str], operation: Operation
    ) -> tuple[str, Mapping[str, str]]:
        resource = sent.get("sr", "")
        if resource not in ("b", "c") or not call.container:
            raise failed("The signed resource is not one that this endpoint has.")
        if resource not in operation.sas:
            raise Refused("AuthorizationResourceTypeMismatch")
        blob = call.blob.decode() if resource == "b" else ""
        text = service_sas_text(sent, call.account, call.container, blob)
        if "si" not in sent:
            return text, sent
        policies = await self._find_policies(call.account, call.container)
        policy = next((one for one in policies if one.id == sent["si"]), None)
        if policy is None:
            raise failed("The stored access policy does not exist.")
        return text, with_policy(sent, policy)


def failed(detail: str) -> Refused:
    """AuthenticationFailed with a detail that gives nothing away."""
    return Refused("AuthenticationFailed", values={"AuthenticationErrorDetail": detail})


def check_shared_key(call: Call, header: str, keys: Sequence[bytes]) -> None:
    """Refuses: AuthenticationFailed for a wrong signature or a clock too far from ours."""
    scheme, _, credentials = header.partition(" ")
    account, _, signature = credentials.strip().partition(":")
    texts_of = SCHEMES.get(scheme)
    if texts_of is None:
        raise failed("Only SharedKey, SharedKeyLite and shared access signatures are taken.")
    try:
        sent_us = parse_http_date(call.headers.get("x-ms-date") or call.headers.get("date", ""))
    except ValueError:
        raise failed("x-ms-date or Date is missing or not a date.") from None
    if abs(sent_us - call.now_us) > SKEW_MAX_US:
        raise failed("Request date header too old or too new: more than 15 minutes off.")
    texts = texts_of(call.method, call.account, call.raw_path, call.query, call.headers)
    signatures = (sign(key, text) for text in texts for key in keys)
    if account != call.account or not any(same_signature(one, signature) for one in signatures):
        raise failed("The MAC signature found in the HTTP request is not the right one.")


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
