"""Every error code of the protocol, the exception that carries one, and its JSON envelope.

What the caller may not do is ``Refused``, raised anywhere and rendered here. A user's task that
went wrong is data on its record, and our own bugs are ordinary exceptions; neither lives here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec


class ErrorCode(NamedTuple):
    """One row of the error table: wire spelling, usual HTTP status, default text."""

    code: str
    status: int
    message: str


# REST: status and error codes. Texts are ours, except the phrases existing tools search for.
_ROWS: tuple[tuple[str, int, str], ...] = (
    # the request itself
    (
        "ConditionNotMet",
        412,
        "The condition specified using HTTP conditional header(s) is not met.",
    ),
    ("MissingRequiredHeader", 400, "A header this request must carry is absent."),
    ("MissingRequiredProperty", 400, "A property the request body must have is absent."),
    ("MissingRequiredQueryParameter", 400, "A query parameter this request must have is absent."),
    ("UnsupportedHeader", 400, "A header of this request is not allowed here."),
    ("UnsupportedProperty", 400, "A property in the request body is not allowed here."),
    ("UnsupportedQueryParameter", 400, "A query parameter of this request is not allowed here."),
    ("InvalidHeaderValue", 400, "The value of a request header is not valid."),
    ("InvalidPropertyValue", 400, "The value of a property in the request body is not valid."),
    ("InvalidQueryParameterValue", 400, "The value of a query parameter is not valid."),
    ("OutOfRangeQueryParameterValue", 400, "The value of a query parameter is out of its range."),
    ("UnsupportedRequestVersion", 400, "The api-version of the request is not known."),
    ("RequestUrlFailedToParse", 400, "The URL of the request could not be read."),
    ("InvalidUri", 400, "The URL of the request names no resource of this service."),
    ("InvalidHttpVerb", 400, "The HTTP verb of the request is not known."),
    ("UnsupportedHttpVerb", 405, "The resource does not allow this HTTP verb."),
    ("UnsupportedHttpVersion", 400, "The HTTP version of the request is not allowed."),
    ("InvalidRequestBody", 400, "The request body is not valid JSON of the expected shape."),
    ("InvalidInput", 400, "An input of the request is not valid."),
    ("OutOfRangeInput", 400, "An input of the request is out of its range."),
    ("EmptyMetadataKey", 400, "A metadata item has an empty name."),
    ("InvalidMetadata", 400, "The metadata of the request is not valid."),
    ("MetadataTooLarge", 400, "The metadata of the request is too large."),
    ("MultipleConditionHeadersNotSupported", 400, "Only one conditional header is allowed."),
    ("InvalidAuthenticationInfo", 400, "The Authorization header could not be read."),
    ("AuthenticationFailed", 403, "Server failed to authenticate the request."),
    ("AuthorizationFailure", 403, "The caller may not carry out this operation."),
    ("InsufficientAccountPermissions", 403, "The caller's permissions do not allow this."),
    ("AccountIsDisabled", 403, "The account is disabled."),
    ("HostInformationNotPresent", 400, "The request names no host."),
    ("InvalidRestAPIForAccountSetting", 403, "A setting of the account forbids this request."),
    ("ResourceNotFound", 404, "The specified resource does not exist."),
    ("ResourceAlreadyExists", 409, "The specified resource already exists."),
    ("ResourceTypeMismatch", 409, "The specified resource is of another type."),
    ("MissingContentLengthHeader", 411, "The request has no Content-Length header."),
    ("RequestBodyTooLarge", 413, "The request body is too large."),
    ("RequestEntityTooLarge", 413, "The request is too large."),
    ("InvalidRange", 416, "The requested range lies outside the file."),
    ("TooManyRequests", 429, "Too many requests on one resource; try again later."),
    ("InternalError", 500, "The server met an internal error; try again."),
    ("OperationTimedOut", 500, "The operation did not finish within its time limit."),
    ("NotImplemented", 501, "This server does not carry out the operation yet."),
    ("ServerBusy", 503, "The server is busy; try again later."),
    # not there
    ("PoolNotFound", 404, "The specified pool does not exist."),
    ("NodeNotFound", 404, "The specified node does not exist."),
    ("NodeUserNotFound", 404, "The node user does not exist."),
    ("JobNotFound", 404, "The specified job does not exist."),
    ("JobScheduleNotFound", 404, "The specified job schedule does not exist."),
    ("TaskNotFound", 404, "The specified task does not exist."),
    ("FileNotFound", 404, "The specified file does not exist."),
    ("PathNotFound", 404, "The specified path does not exist."),
    ("ApplicationNotFound", 404, "The specified application does not exist."),
    ("CertificateNotFound", 404, "The specified certificate does not exist."),
    ("NodeAgentSKUNotFound", 404, "The specified node agent SKU does not exist."),
    ("JobPreparationTaskNotRunOnNode", 404, "The job preparation task has not run on the node."),
    ("JobReleaseTaskNotRunOnNode", 404, "The job release task has not run on the node."),
    # there already
    ("PoolExists", 409, "The specified pool already exists."),
    ("JobExists", 409, "The specified job already exists."),
    ("JobScheduleExists", 409, "The specified job schedule already exists."),
    ("TaskExists", 409, "The specified task already exists."),
    ("NodeUserExists", 409, "The specified node user already exists."),
    ("CertificateExists", 409, "The specified certificate already exists."),
    ("JobWithSameIdExists", 409, "A job with the specified id already exists."),
    ("JobScheduleWithSameIdExists", 409, "A job schedule with the specified id already exists."),
    ("TaskIdSameAsJobPreparationTask", 409, "The task has the id of the job preparation task."),
    ("TaskIdSameAsJobReleaseTask", 409, "The task has the id of the job release task."),
    # not in this state
    (
        "OperationInvalidForCurrentState",
        409,
        "The specified operation is not valid for the current state of the resource.",
    ),
    ("OperationNotValidOnPool", 409, "The specified operation is not valid on this pool."),
    ("OperationNotValidOnNode", 409, "The specified operation is not valid on this node."),
    ("PoolBeingDeleted", 409, "The specified pool is being deleted."),
    ("PoolBeingResized", 409, "The specified pool is being resized."),
    ("PoolBeingCreated", 409, "The specified pool is being created."),
    ("NodeBeingCreated", 409, "The specified node is being created."),
    ("NodeBeingStarted", 409, "The specified node is being started."),
    ("NodeBeingRebooted", 409, "The specified node is being rebooted."),
    ("NodeBeingReimaged", 409, "The specified node is being reimaged."),
    ("NodeStateUnusable", 409, "The specified node is unusable."),
    (
        "NodeAlreadyInTargetSchedulingState",
        409,
        "The specified node is already in the wanted scheduling state.",
    ),
    ("NodeCountsMismatch", 409, "The number of nodes is not what the request expects."),
    ("JobBeingDeleted", 409, "The specified job is being deleted."),
    ("JobBeingTerminated", 409, "The specified job is being terminated."),
    ("JobCompleted", 409, "The specified job is already in a completed state."),
    ("JobDisabled", 409, "The specified job is disabled."),
    ("JobNotActive", 409, "The specified job is not active."),
    ("JobScheduleBeingDeleted", 409, "The specified job schedule is being deleted."),
    ("JobScheduleBeingTerminated", 409, "The specified job schedule is being terminated."),
    ("JobScheduleCompleted", 409, "The specified job schedule is already in completed state."),
    ("JobScheduleDisabled", 409, "The specified job schedule is disabled."),
    ("TaskCompleted", 409, "The specified task is already in a completed state."),
    ("TaskNotCompleted", 409, "The specified task has not completed."),
    ("TaskSucceeded", 409, "The specified task completed with success."),
    ("TaskFilesUnavailable", 409, "The files of the specified task are not available."),
    ("TaskFilesCleanedup", 409, "The files of the specified task have been removed."),
    ("JobPreparationTaskNotSpecified", 409, "The job has no job preparation task."),
    ("JobReleaseTaskNotSpecified", 409, "The job has no job release task."),
    ("CertificateBeingDeleted", 409, "The specified certificate is being deleted."),
    ("CertificateStateActive", 409, "The specified certificate is active."),
    ("CertificateDeleteFailed", 409, "The specified certificate could not be deleted."),
    # limits and references
    ("ActiveJobAndScheduleQuotaReached", 409, "The quota of active jobs and schedules is reached."),
    ("PoolQuotaReached", 409, "The quota of pools is reached."),
    (
        "InvalidApplicationPackageReferences",
        409,
        "An application package reference names no usable package.",
    ),
    ("InvalidCertificateReferences", 409, "A certificate reference names no usable certificate."),
    ("InvalidAutoScalingSettings", 400, "The autoscale settings are not valid."),
    ("AutoScalingFormulaSyntaxError", 400, "The autoscale formula has a syntax error."),
    ("AutoScaleFormulaTooLong", 400, "The autoscale formula is too long."),
    ("AutoScalingFormulaTooLong", 400, "The autoscale formula is too long."),
    ("TooManyEnableAutoScaleRequests", 503, "Autoscale was enabled too often; try again later."),
    ("TaskDependenciesNotSpecifiedOnJob", 400, "The job does not use task dependencies."),
    ("TaskDependencyListTooLong", 400, "The list of task dependencies is too long."),
    ("TaskDependencyRangesTooLong", 400, "The list of task dependency ranges is too long."),
    ("InvalidConstraintValue", 400, "The value of a constraint is not valid."),
    ("UnsupportedConstraint", 400, "A constraint is not allowed here."),
    ("OutOfRangePriority", 400, "The priority is out of its range."),
    ("StorageAccountNotFound", 400, "No storage account is linked to this account."),
    ("IOError", 403, "The node could not read the file."),
    # OS upgrades of cloud service pools, retired by the provider
    ("UpgradePoolVersionConflict", 409, "The pool is being upgraded to another OS version."),
    ("PoolVersionEqualsUpgradeVersion", 409, "The pool already has the wanted OS version."),
    ("PoolNotEligibleForOSVersionUpgrade", 409, "The pool's OS version cannot be upgraded."),
    ("OSVersionNotFound", 400, "The OS version does not exist."),
    ("OSVersionDisabled", 400, "The OS version is disabled."),
    ("OSVersionExpired", 400, "The OS version has expired."),
)

ERRORS: dict[str, ErrorCode] = {row[0]: ErrorCode(*row) for row in _ROWS}

# Values of these members never leave the server, not even in an error about them.
SECRET_MEMBERS = frozenset(
    {
        "accountKey",
        "data",
        "password",
        "protectedSettings",
        "sasKey",
        "sshPrivateKey",
    }
)
_VALUE_CHARS_MAX = 256  # ours: an error repeats no more of the request than a person would read


class Refused(Exception):
    """The caller asked for something that is not allowed; carries a row of ``ERRORS``.

    ``values`` are the key and value pairs of the envelope, ``headers`` go out with the answer
    (``Retry-After``). ``status`` overrides the row's status where a code has two.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        values: Sequence[tuple[str, str]] = (),
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        row = ERRORS[code]
        self.code = code
        self.status = row.status if status is None else status
        self.message = row.message if message is None else message
        self.values: tuple[tuple[str, str], ...] = tuple(values)
        self.headers: Mapping[str, str] = {} if headers is None else headers
        super().__init__(f"{code}: {self.message}")


def invalid_property(name: str, value: object, reason: str) -> Refused:
    """The body member ``name`` (dotted JSON path) has a value that breaks a rule."""
    return Refused("InvalidPropertyValue", values=_property_values(name, value, reason))


def missing_property(name: str) -> Refused:
    """The body member ``name`` (dotted JSON path) must be given."""
    values = [("PropertyName", name), ("Reason", "The property must be given.")]
    return Refused("MissingRequiredProperty", values=values)


def unsupported_property(name: str, value: object = None, reason: str = "") -> Refused:
    """The body member ``name`` (dotted JSON path) is unknown or not allowed here."""
    text = reason or "The property is not known here."
    return Refused("UnsupportedProperty", values=_property_values(name, value, text))


def invalid_query(name: str, value: object, reason: str) -> Refused:
    """The query parameter ``name`` has a value that cannot be used."""
    values = [
        ("QueryParameterName", name),
        ("QueryParameterValue", _cut(str(value))),
        ("Reason", reason),
    ]
    return Refused("InvalidQueryParameterValue", values=values)


def error_body(refused: Refused, base_url: str, request_id: str, now_us: int) -> bytes:
    """The JSON envelope of an error answer. Source: REST error format."""
    from lote.wire.formats import format_timestamp  # here, as formats refuses with this module

    element = "$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    stamp = f"\nRequestId:{request_id}\nTime:{format_timestamp(now_us)}"
    body: dict[str, Any] = {"odata.metadata": f"{base_url}/{element}"}
    body.update(error_object(refused))
    body["message"]["value"] += stamp
    return msgspec.json.encode(body)


def error_object(refused: Refused) -> dict[str, Any]:
    """The error as a JSON object, as it stands inside the results of a task collection."""
    shown: dict[str, Any] = {
        "code": refused.code,
        "message": {"lang": "en-US", "value": refused.message},
    }
    if refused.values:
        shown["values"] = [{"key": key, "value": value} for key, value in refused.values]
    return shown


def shown_value(name: str, value: object) -> str | None:
    """``value`` of member ``name`` as an error may repeat it: no secret, no signature, not long."""
    if value is None or not SECRET_MEMBERS.isdisjoint(_path_members(name)):
        return None
    if isinstance(value, (dict, list)):
        return None  # may hold secrets further down; the name says enough
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cut(_without_query(str(value)))


def _property_values(name: str, value: object, reason: str) -> list[tuple[str, str]]:
    shown = shown_value(name, value)
    pairs = [("PropertyName", _cut(_without_query(name)))]
    if shown is not None:
        pairs.append(("PropertyValue", shown))
    pairs.append(("Reason", reason))
    return pairs


def _without_query(text: str) -> str:
    """The query of a URL carries its signature; clients put URLs in odd places, names too."""
    return text[: text.index("?")] + "?…" if "?" in text else text


def _path_members(name: str) -> list[str]:
    return [part.split("[", 1)[0] for part in name.split(".")]


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS_MAX else text[: _VALUE_CHARS_MAX - 1] + "…"
