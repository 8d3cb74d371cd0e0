"""Who asks, and what that allows: shared keys, shared access signatures, bearer tokens, and
containers that are open to all."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from lote.storage.call import EVERYTHING, Call, Grant
from lote.storage.container import Container
from lote.storage.delegation import DelegationKey, parse_delegation
from lote.storage.errors import Refused, failed
from lote.storage.operations import Operation
from lote.storage.sas import check_origin, check_reach, check_times, parse_overrides, with_policy
from lote.storage.signatures import (
    SAS_VERSION_MIN,
    SCHEMES,
    Signed,
    account_sas_text,
    delegation_sas_text,
    same_signature,
    service_sas_text,
    sign,
)
from lote.storage.times import parse_http_date
from lote.tokens.verify import BadToken, Identity, TokenVerifier

SKEW_MAX_US = 15 * 60 * 1_000_000  # REST: Authorize with Shared Key
RESOURCE_ID = "https://storage.azure.com"
AUDIENCES = (RESOURCE_ID, "e406a681-f3d4-42a8-90b6-c2b029497af1")  # the storage application's id
CLOUD_SUFFIXES = (
    "core.windows.net",
    "core.chinacloudapi.cn",
    "core.usgovcloudapi.net",
    "core.cloudapi.de",
)
# REST: "Authorize with Microsoft Entra ID" has these two for the account's keys alone.
KEY_ONLY = frozenset({"get_container_acl", "set_container_acl"})
# What of an open container may be read without credentials, by its public access.
PUBLIC_OPERATIONS = {
    "blob": frozenset({"get_blob", "get_blob_properties", "get_blob_metadata", "get_block_list"}),
}
PUBLIC_OPERATIONS["container"] = PUBLIC_OPERATIONS["blob"] | {
    "list_blobs",
    "get_container_properties",
    "get_container_metadata",
}

FindContainer = Callable[[str, str], Awaitable[Container | None]]


class AccountKeys(NamedTuple):
    """An account's two keys, in base64 as clients have them."""

    key1: str
    key2: str

    def decoded(self) -> tuple[bytes, bytes]:
        """The keys as bytes. Refuses (``ValueError``): what is not base64."""
        return b64decode(self.key1, validate=True), b64decode(self.key2, validate=True)


class Access(NamedTuple):
    """What may be used besides keys. ``authorization_uri``: where clients are sent for a token;
    ``suffix``: what follows ``<account>.`` or ``<account>.blob.`` in this endpoint's host names.
    """

    verifier: TokenVerifier | None = None
    authorization_uri: str = ""
    suffix: str = ""
    allow_public: bool = False


class Authenticator:
    """Checks every request. ``find_container(account, name)`` gives policies and openness."""

    def __init__(
        self,
        accounts: Mapping[str, AccountKeys],
        find_container: FindContainer,
        access: Access = Access(),  # noqa: B008 - a tuple, which nobody changes
    ) -> None:
        self._keys = {name: keys.decoded() for name, keys in accounts.items()}
        self._find_container = find_container
        self._access = access

    @property
    def allows_public(self) -> bool:
        """Whether containers may be opened to requests without credentials."""
        return self._access.allow_public

    def has_account(self, name: str) -> bool:
        """Whether the account is served here."""
        return name in self._keys

    async def authenticate(self, call: Call, operation: Operation) -> Grant:
        """What the request may do, enough for the operation.

        Refuses: ResourceNotFound for an account that is not here, NoAuthenticationInformation and
        InvalidAuthenticationInfo (401), AuthenticationFailed and the Authorization… codes (403).
        Never says what signature would have been right.
        """
        keys = self._keys.get(call.account)
        if keys is None:
            raise Refused("ResourceNotFound", "There is no such account here.")
        header = call.headers.get("authorization", "")
        is_bearer = header[:7].lower() == "bearer "
        if operation.name == "get_user_delegation_key" and not is_bearer:
            raise failed("Only authentication scheme Bearer is supported")
        if header and not is_bearer:
            check_shared_key(call, header, keys)
            return EVERYTHING
        if "sig" in call.query:
            return await self.check_sas(call, call.query, operation, keys)
        if is_bearer:
            identity = await self._check_token(call, header[7:].strip())
            if operation.name in KEY_ONLY:
                raise failed("Access policies are for the account's keys.")
            return Grant(None, {}, identity)
        if await self.is_public(call.account, call.container, operation):
            return Grant(frozenset("rl"), {})
        raise self._anonymous(call)

    def delegated(self, account: str, key: DelegationKey) -> str:
        """A user delegation key, in base64, by the account's first key."""
        return key.text(account, self._keys[account][0])

    async def is_public(self, account: str, container: str, operation: Operation) -> bool:
        """Whether anybody may carry out the operation on this container."""
        if not self._access.allow_public or not container:
            return False
        found = await self._find_container(account, container)
        return found is not None and operation.name in PUBLIC_OPERATIONS.get(found.public, ())

    async def check_sas(
        self, call: Call, sent: Mapping[str, str], operation: Operation, keys: Sequence[bytes]
    ) -> Grant:
        """What a shared access signature allows; ``sent`` is the query that has it."""
        if "," in sent["sig"]:  # no signature has one: the parameter was given twice
            raise failed("The signature is given more than once.")
        if sent.get("sv", "") < SAS_VERSION_MIN:
            raise failed("The signed version is missing or too old.")
        sas = sent
        if "ss" in sent or "srt" in sent:
            check_signature(sent, account_sas_text(sent, call.account), keys)
        elif "skoid" in sent:
            await self._check_delegation(call, sent, operation, keys)
        else:
            sas = await self._service_sas(call, sent, operation, keys)
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
        account: str = "",
    ) -> None:
        """Whether a signature in the URL of a copy's source allows to read it. ``account``: the
        source's, if it is not the target's."""
        source = replace(
            call,
            account=account or call.account,
            container=container,
            blob=blob,
            query=dict(sent),
        )
        keys = self._keys.get(source.account)
        if keys is None:
            raise Refused("ResourceNotFound", "There is no such account here.")
        await self.check_sas(source, sent, operation, keys)

    async def _service_sas(
        self, call: Call, sent: Mapping[str, str], operation: Operation, keys: Sequence[bytes]
    ) -> Mapping[str, str]:
        text = service_sas_text(sent, signed_by(call, sent, operation))
        check_signature(sent, text, keys)
        if "si" not in sent:
            return sent
        found = await self._find_container(call.account, call.container)
        policies = found.policies if found is not None else ()
        policy = next((one for one in policies if one.id == sent["si"]), None)
        if policy is None:
            raise failed("The stored access policy does not exist.")
        return with_policy(sent, policy)

    async def _check_delegation(
        self, call: Call, sent: Mapping[str, str], operation: Operation, keys: Sequence[bytes]
    ) -> None:
        """A signature by a user delegation key, which may be for one user's hands only."""
        if "si" in sent:
            raise failed("A user delegation signature cannot have an access policy.")
        try:
            key = parse_delegation(sent)
        except ValueError:
            raise failed("The times of the user delegation key are not times.") from None
        signed = signed_by(call, sent, operation)
        text = delegation_sas_text(sent, signed, call.headers, call.query)
        check_signature(sent, text, [key.value(call.account, one) for one in keys])
        if not key.start_us <= call.now_us < key.expiry_us:
            raise failed("The user delegation key is not valid at this time.")
        if sent.get("sduoid") or key.user_tid:
            await self._check_user(call, sent, key)

    async def _check_user(self, call: Call, sent: Mapping[str, str], key: DelegationKey) -> None:
        header = call.headers.get("authorization", "")
        if header[:7].lower() != "bearer ":
            raise failed("The signature is good only together with its user's bearer token.")
        identity = await self._check_token(call, header[7:].strip())
        tenant = key.user_tid or key.tid
        if identity.oid != sent.get("sduoid", identity.oid) or identity.tid != tenant:
            raise failed("The bearer token is not that of the signature's user.")

    async def _check_token(self, call: Call, token: str) -> Identity:
        """Whom a bearer token names. Refuses: InvalidAuthenticationInfo (401)."""
        verifier = self._access.verifier
        try:
            if call.scheme != "https":
                raise BadToken("Bearer tokens are taken over HTTPS only.")
            if verifier is None:
                raise BadToken("No issuer of bearer tokens is trusted here.")
            return await verifier.verify(token, self._audiences(call))
        except BadToken as bad:
            raise Refused(
                "InvalidAuthenticationInfo",
                values={"AuthenticationErrorDetail": str(bad)},
                headers={"WWW-Authenticate": self._challenge()},
            ) from None

    def _audiences(self, call: Call) -> list[str]:
        suffixes = (*CLOUD_SUFFIXES, *filter(None, [self._access.suffix]))
        hosts = [f"https://{call.account}.blob.{suffix}" for suffix in suffixes]
        return [*AUDIENCES, *hosts, call.endpoint]

    def _challenge(self) -> str:
        uri = self._access.authorization_uri
        return f"Bearer authorization_uri={uri} resource_id={RESOURCE_ID}"

    def _anonymous(self, call: Call) -> Refused:
        """What a request without credentials is told. Where containers can be open, a closed one
        looks like one that is not there."""
        if self._access.allow_public and call.container:
            return Refused("ResourceNotFound")
        has_tokens = call.scheme == "https" and self._access.verifier is not None
        challenge = self._challenge() if has_tokens else "SharedKey"
        return Refused("NoAuthenticationInformation", headers={"WWW-Authenticate": challenge})


def signed_by(call: Call, sent: Mapping[str, str], operation: Operation) -> Signed:
    """What a signature for a container or blob is about, as the request has it.

    Refuses: AuthenticationFailed for resources that there are not here (directories, versions),
    AuthorizationResourceTypeMismatch.
    """
    resource = sent.get("sr", "")
    if resource == "d":
        raise failed("Signatures for directories need a hierarchical namespace.")
    if resource not in ("b", "bs", "c") or not call.container:
        raise failed("The signed resource is not one that this endpoint has.")
    if resource[0] not in operation.sas:
        raise Refused("AuthorizationResourceTypeMismatch")
    blob = "" if resource == "c" else call.blob.decode()
    snapshot = call.query.get("snapshot", "") if resource == "bs" else ""
    return Signed(call.account, call.container, blob, snapshot)


def check_signature(sent: Mapping[str, str], text: str, keys: Sequence[bytes]) -> None:
    """Refuses: AuthenticationFailed when none of the keys made the signature."""
    if not any(same_signature(sign(key, text), sent["sig"]) for key in keys):
        raise failed("Signature did not match.")


def check_shared_key(call: Call, header: str, keys: Sequence[bytes]) -> None:
    """Refuses: AuthenticationFailed for a wrong signature or a clock too far from ours."""
    scheme, _, credentials = header.partition(" ")
    account, _, signature = credentials.strip().partition(":")
    texts_of = SCHEMES.get(scheme)
    if texts_of is None:
        raise failed("Only SharedKey, SharedKeyLite, Bearer and shared access signatures work.")
    try:
        sent_us = parse_http_date(call.headers.get("x-ms-date") or call.headers.get("date", ""))
    except ValueError:
        raise failed("x-ms-date or Date is missing or not a date.") from None
    if abs(sent_us - call.now_us) > SKEW_MAX_US:
        raise failed("Request date header too old or too new: more than 15 minutes off.")
    texts = texts_of(call.method, call.account, call.raw_path, call.query, call.headers)
    if account == call.account:
        for text in texts:
            for key in keys:
                if same_signature(sign(key, text), signature):
                    return
    raise failed("The MAC signature found in the HTTP request is not the right one.")
