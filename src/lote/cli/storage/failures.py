"""What went wrong, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Mapping

from lote.blobs.external import UNTRUSTED
from lote.blobs.failure import BlobError
from lote.cli.storage.names import printable

# REST: Blob service error codes; the text takes the place of the service's own.
ADVICE: Mapping[str, str] = {
    "AuthenticationFailed": "the signature was refused: wrong key, or the SAS is damaged or over",
    "AuthorizationFailure": "this is not allowed; look at the permissions of the SAS",
    "AuthorizationPermissionMismatch": "the SAS does not allow this; look at its permissions",
    "AuthorizationProtocolMismatch": "the SAS is for https only",
    "AuthorizationResourceTypeMismatch": "the SAS is not for this kind of thing",
    "AuthorizationSourceIPMismatch": "the SAS is for another IP address",
    "BlobArchived": "it is archived and can't be read; change its tier first",
    "BlobImmutableDueToPolicy": "a policy keeps it from being changed",
    "BlobNotFound": "there is no such blob",
    "ContainerBeingDeleted": "the container is being deleted; try again in a while",
    "ContainerNotFound": "there is no such container; cp --create makes it",
    "InvalidResourceName": "not a valid name; containers have 3 to 63 of a-z, 0-9 and -",
    "InvalidUri": "not a valid name",
    "LeaseIdMissing": "somebody holds a lease on it; wait until it ends, or break it",
    "NoAuthenticationInformation": "this needs a key or a SAS",
    "NoKey": "only the account's key can sign, and none is known; give --connection-string",
    "OutOfRangeInput": "not a valid name; containers have 3 to 63 of a-z, 0-9 and -",
    "PublicAccessNotPermitted": "this account has no public access; use a key or a SAS",
    "ResourceNotFound": "there is nothing of that name, or not without a key or a SAS",
    "ServerBusy": "the service is busy; try again in a while",
}
UNREACHABLE = ("ServiceRequestError", "ServiceResponseError", "IncompleteReadError")


def explain(error: BaseException) -> str:
    """Why it failed, in one line; the thing itself is named by the caller."""
    if isinstance(error, BlobError):
        return _of_blob(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeEncodeError):
        return "the name is not UTF-8, which names in storage are"
    return printable(str(error) or type(error).__name__)


def _of_blob(error: BlobError) -> str:
    advice = ADVICE.get(error.code or "")
    if advice:
        return advice
    if error.status is None and (error.reason in UNREACHABLE or error.kind == "timed_out"):
        host = "/".join(error.url.split("/")[:3])
        return f"{host} does not answer ({error.reason})"
    if error.reason == UNTRUSTED:
        return f"{UNTRUSTED}; name a file of authorities by REQUESTS_CA_BUNDLE (as lote env does)"
    answered = " ".join(str(part) for part in (error.status, error.code) if part)
    reason = error.reason.partition("\n")[0]
    return printable(f"the service answered {answered}: {reason}" if answered else reason)
