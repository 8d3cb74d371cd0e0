"""What the endpoint refuses, in the protocol's words. Source: REST "Blob service error codes"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lote.storage.xml import DECLARATION, element


class ErrorRow(NamedTuple):
    """A code's HTTP status and its usual message."""

    status: int
    message: str


ERRORS: dict[str, ErrorRow] = {
    "AppendPositionConditionNotMet": ErrorRow(
        412, "The append position condition specified was not met."
    ),
    "AuthenticationFailed": ErrorRow(
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header "
        "is formed correctly including the signature.",
    ),
    "AuthorizationPermissionMismatch": ErrorRow(
        403, "This request is not authorized to perform this operation using this permission."
    ),
    "AuthorizationProtocolMismatch": ErrorRow(
        403, "This request is not authorized to perform this operation using this protocol."
    ),
    "AuthorizationResourceTypeMismatch": ErrorRow(
        403, "This request is not authorized to perform this operation using this resource type."
    ),
    "AuthorizationServiceMismatch": ErrorRow(
        403, "This request is not authorized to perform this operation using this service."
    ),
    "AuthorizationSourceIPMismatch": ErrorRow(
        403, "This request is not authorized to perform this operation using this source IP."
    ),
    "BlobAlreadyExists": ErrorRow(409, "The specified blob already exists."),
    "BlobArchived": ErrorRow(409, "This operation is not permitted on an archived blob."),
    "BlobIsSealed": ErrorRow(
        409,
        "The specified blob is sealed, and its contents can't be modified unless the blob is"
        " re-created after a delete.",
    ),
    "BlobNotFound": ErrorRow(404, "The specified blob does not exist."),
    "BlockCountExceedsLimit": ErrorRow(
        409, "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."
    ),
    "BlockListTooLong": ErrorRow(400, "The block list may not contain more than 50,000 blocks."),
    "CorsPreflightFailure": ErrorRow(
        403, "CORS not enabled or no matching rule found for this request."
    ),
    "BothCrc64AndMd5HeaderPresent": ErrorRow(
        400, "Both x-ms-content-crc64 header and Content-MD5 header are present."
    ),
    "CannotVerifyCopySource": ErrorRow(404, "The copy source cannot be read from here."),
    "ConditionNotMet": ErrorRow(
        412, "The condition specified using HTTP conditional header(s) is not met."
    ),
    "ContainerAlreadyExists": ErrorRow(409, "The specified container already exists."),
    "ContainerNotFound": ErrorRow(404, "The specified container does not exist."),
    "CopyIdMismatch": ErrorRow(
        409, "The specified copy ID did not match the copy ID for the pending copy operation."
    ),
    "DuplicateTagNames": ErrorRow(400, "The tags specified contain duplicate names."),
    "EmptyTagName": ErrorRow(400, "The tag name must not be empty."),
    "Crc64Mismatch": ErrorRow(
        400,
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by"
        " the server.",
    ),
    "InfiniteLeaseDurationRequired": ErrorRow(
        412,
        "The lease ID matched, but the specified lease must be an infinite-duration lease.",
    ),
    "InsufficientAccountPermissions": ErrorRow(
        403, "The account being accessed does not have sufficient permissions for this operation."
    ),
    "InternalError": ErrorRow(500, "The server encountered an internal error."),
    "InvalidAuthenticationInfo": ErrorRow(
        401,
        "Server failed to authenticate the request. Please refer to the information in the "
        "www-authenticate header.",
    ),
    "InvalidBlobOrBlock": ErrorRow(400, "The specified blob or block content is invalid."),
    "InvalidBlobType": ErrorRow(409, "The blob type is invalid for this operation."),
    "InvalidBlockId": ErrorRow(
        400, "The specified block ID is invalid. The block ID must be Base64-encoded."
    ),
    "InvalidBlockList": ErrorRow(400, "The specified block list is invalid."),
    "InvalidHeaderValue": ErrorRow(
        400, "The value for one of the HTTP headers is not in the correct format."
    ),
    "InvalidInput": ErrorRow(400, "One of the request inputs is not valid."),
    "InvalidMd5": ErrorRow(
        400, "The MD5 value specified in the request is invalid. It must be 128 bits, in Base64."
    ),
    "InvalidMetadata": ErrorRow(
        400, "The specified metadata is invalid. It includes characters that are not permitted."
    ),
    "InvalidQueryParameterValue": ErrorRow(
        400, "Value for one of the query parameters specified in the request URI is invalid."
    ),
    "InvalidRange": ErrorRow(
        416, "The range specified is invalid for the current size of the resource."
    ),
    "InvalidResourceName": ErrorRow(
        400, "The specified resource name contains invalid characters."
    ),
    "InvalidSourceBlobType": ErrorRow(
        409, "The copy source blob type is invalid for this operation."
    ),
    "InvalidTag": ErrorRow(
        400, "The tags specified are invalid. They contain characters that are not permitted."
    ),
    "InvalidUri": ErrorRow(400, "The requested URI does not represent any resource on the server."),
    "InvalidXmlDocument": ErrorRow(400, "XML specified is not syntactically valid."),
    "InvalidXmlNodeValue": ErrorRow(
        400, "The value for one of the XML nodes is not in the correct format."
    ),
    "LeaseAlreadyPresent": ErrorRow(409, "There is already a lease present."),
    "LeaseIdMismatchWithBlobOperation": ErrorRow(
        412, "The lease ID specified did not match the lease ID for the blob."
    ),
    "LeaseIdMismatchWithContainerOperation": ErrorRow(
        412, "The lease ID specified did not match the lease ID for the container."
    ),
    "LeaseIdMismatchWithLeaseOperation": ErrorRow(
        409, "The lease ID specified did not match the lease ID for the resource."
    ),
    "LeaseIdMissing": ErrorRow(
        412, "There is currently a lease on the resource and no lease ID was specified."
    ),
    "LeaseIsBreakingAndCannotBeAcquired": ErrorRow(
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be acquired"
        " until it is broken.",
    ),
    "LeaseIsBreakingAndCannotBeChanged": ErrorRow(
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be changed.",
    ),
    "LeaseIsBrokenAndCannotBeRenewed": ErrorRow(
        409, "The lease ID matched, but the lease has been broken explicitly and cannot be renewed."
    ),
    "LeaseLost": ErrorRow(412, "A lease ID was specified, but the lease has expired."),
    "LeaseNotPresentWithLeaseOperation": ErrorRow(
        409, "There is currently no lease on the resource."
    ),
    "LeaseNotPresentWithBlobOperation": ErrorRow(412, "There is currently no lease on the blob."),
    "LeaseNotPresentWithContainerOperation": ErrorRow(
        412, "There is currently no lease on the container."
    ),
    "MaxBlobSizeConditionNotMet": ErrorRow(
        412, "The max blob size condition specified was not met."
    ),
    "Md5Mismatch": ErrorRow(
        400, "The MD5 value specified in the request did not match with the MD5 value calculated."
    ),
    "MetadataTooLarge": ErrorRow(
        400, "The size of the specified metadata exceeds the maximum size permitted."
    ),
    "MissingContentLengthHeader": ErrorRow(411, "The Content-Length header was not specified."),
    "MissingRequiredHeader": ErrorRow(
        400, "An HTTP header that's mandatory for this request is not specified."
    ),
    "MissingRequiredQueryParameter": ErrorRow(
        400, "A query parameter that's mandatory for this request is not specified."
    ),
    "MultipleConditionHeadersNotSupported": ErrorRow(
        400, "Multiple condition headers are not supported."
    ),
    "NoAuthenticationInformation": ErrorRow(
        401,
        "Server failed to authenticate the request. Please refer to the information in the "
        "www-authenticate header.",
    ),
    "NoPendingCopyOperation": ErrorRow(409, "There is currently no pending copy operation."),
    "NotImplemented": ErrorRow(501, "The requested operation is not implemented by this endpoint."),
    "OutOfRangeInput": ErrorRow(400, "One of the request inputs is out of range."),
    "OutOfRangeQueryParameterValue": ErrorRow(
        400,
        "A query parameter specified in the request URI is outside the permissible range.",
    ),
    "PendingCopyOperation": ErrorRow(409, "There is currently a pending copy operation."),
    "PublicAccessNotPermitted": ErrorRow(
        409, "Public access is not permitted on this storage account."
    ),
    "RequestBodyTooLarge": ErrorRow(
        413, "The request body is too large and exceeds the maximum permissible limit."
    ),
    "ResourceNotFound": ErrorRow(404, "The specified resource does not exist."),
    "ServerBusy": ErrorRow(503, "The server is busy."),
    "SnapshotsPresent": ErrorRow(
        409, "This operation is not permitted while the blob has snapshots."
    ),
    "SourceConditionNotMet": ErrorRow(
        412, "The source condition specified using HTTP conditional header(s) is not met."
    ),
    "TagsTooLarge": ErrorRow(400, "The tags specified exceed the maximum permissible limit."),
    "UnsatisfiableCondition": ErrorRow(
        400, "The request includes an unsatisfiable condition for this operation."
    ),
    "UnsupportedHeader": ErrorRow(
        400, "One of the HTTP headers specified in the request is not supported."
    ),
    "UnsupportedHttpVerb": ErrorRow(405, "The resource doesn't support the specified HTTP verb."),
}


class Refused(Exception):
    """A request that is answered with an error.

    ``code`` is a row of ``ERRORS``; ``values`` are further elements of the error body, ``status``
    and ``message`` replace the row's.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int | None = None,
        values: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        row = ERRORS[code]
        super().__init__(code)
        self.code = code
        self.status = status or row.status
        self.message = message or row.message
        self.values = values or {}
        self.headers = headers or {}


def failed(detail: str) -> Refused:
    """AuthenticationFailed with a detail that gives nothing away."""
    return Refused("AuthenticationFailed", values={"AuthenticationErrorDetail": detail})


def invalid_header(name: str, value: str) -> Refused:
    """The refusal of a header's value, naming both."""
    return Refused("InvalidHeaderValue", values={"HeaderName": name, "HeaderValue": value})


def missing_header(name: str) -> Refused:
    """The refusal of a request that lacks a header."""
    return Refused("MissingRequiredHeader", values={"HeaderName": name})


def unsupported_header(name: str) -> Refused:
    """The refusal of a header that asks for something this endpoint does not have."""
    return Refused("UnsupportedHeader", values={"HeaderName": name})


def invalid_query(name: str, value: str, reason: str = "") -> Refused:
    """The refusal of a query parameter's value, naming both."""
    values = {"QueryParameterName": name, "QueryParameterValue": value}
    return Refused(
        "InvalidQueryParameterValue", values=values | ({"Reason": reason} if reason else {})
    )


def error_body(refused: Refused, request_id: str, time: str) -> bytes:
    """The XML body of an error answer."""
    message = f"{refused.message}\nRequestId:{request_id}\nTime:{time}"
    rows = {"Code": refused.code, "Message": message, **refused.values}
    inner = "".join(element(name, text) for name, text in rows.items())
    return f"{DECLARATION}<Error>{inner}</Error>".encode()
