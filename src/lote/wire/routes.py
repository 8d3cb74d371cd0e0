"""Find the operation a request line means, in as many steps as its path has segments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lote.wire.errors import Refused

if TYPE_CHECKING:
    from lote.wire.operations import Operation

VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

_PATH_CHARS_MAX = 16_384  # ours: well above 64-character ids and any file path a node can have
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CERTIFICATE = re.compile(
    r"certificates\(thumbprintalgorithm=([^,()]+),thumbprint=([^,()]+)\)", re.IGNORECASE
)


class _Branch:
    """One level of the tree of paths; a literal segment wins over a captured one."""

    __slots__ = ("capture", "capture_name", "certificate", "literals", "tail", "tail_name", "verbs")

    def __init__(self) -> None:
        self.literals: dict[str, _Branch] = {}
        self.capture: _Branch | None = None
        self.capture_name = ""
        self.tail: _Branch | None = None  # takes all remaining segments: a file path
        self.tail_name = ""
        self.certificate: _Branch | None = None
        self.verbs: dict[str, Operation] = {}


class Routes:
    """The tree of all paths, built once from the operations table."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _tree(operations)

    def match(self, method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
        """See ``operations.match``.

        Every captured segment is percent-decoded once. Refuses: InvalidHttpVerb, InvalidUri,
        RequestUrlFailedToParse, UnsupportedHttpVerb.
        """
        branch = self._root
        params: dict[str, str] = {}
        segments = raw_path.split("/")
        if segments[0] or len(raw_path) > _PATH_CHARS_MAX:
            raise Refused("InvalidUri")
        count = len(segments)
        if count > 2 and not segments[-1]:
            count -= 1  # one trailing slash names the same resource
        for index in range(1, count):
            segment = segments[index]
            found = branch.literals.get(segment) or branch.literals.get(segment.lower())
            if found is not None:
                branch = found
            elif branch.capture is not None and segment:
                params[branch.capture_name] = _decoded(segment)
                branch = branch.capture
            elif branch.tail is not None and segment:
                params[branch.tail_name] = _decoded("/".join(segments[index:count]))
                branch = branch.tail
                break
            elif branch.certificate is not None and "(" in segment:
                branch = _certificate(branch.certificate, segment, params)
            else:
                raise Refused("InvalidUri")
        operation = branch.verbs.get(method)
        if operation is None:
            raise _no_operation(branch, method)
        return operation, params


def _decoded(raw: str) -> str:
    if "%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise Refused("RequestUrlFailedToParse")
        try:
            raw = unquote(raw, errors="strict")
        except UnicodeDecodeError:
            raise Refused("RequestUrlFailedToParse") from None
    if "\0" in raw:
        raise Refused("InvalidUri")
    return raw


def _certificate(branch: _Branch, segment: str, params: dict[str, str]) -> _Branch:
    named = _CERTIFICATE.fullmatch(segment)
    if named is None:
        raise Refused("InvalidUri")
    params["thumbprint_algorithm"] = _decoded(named[1])
    params["thumbprint"] = _decoded(named[2])
    return branch


def _no_operation(branch: _Branch, method: str) -> Refused:
    if not branch.verbs:
        return Refused("InvalidUri")
    if method not in VERBS:
        return Refused("InvalidHttpVerb")
    return Refused("UnsupportedHttpVerb", headers={"Allow": ", ".join(sorted(branch.verbs))})


def _tree(operations: Iterable[Operation]) -> _Branch:
    root = _Branch()
    for operation in operations:
        branch = root
        for segment in operation.path.split("/")[1:]:
            branch = _grown(branch, segment)
        branch.verbs[operation.method] = operation
    return root


def _grown(branch: _Branch, segment: str) -> _Branch:
    if segment == "{file_path}":
        branch.tail_name = "file_path"
        branch.tail = branch.tail or _Branch()
        return branch.tail
    if segment.startswith("{"):
        branch.capture_name = segment[1:-1]
        branch.capture = branch.capture or _Branch()
        return branch.capture
    if "(" in segment:
        branch.certificate = branch.certificate or _Branch()
        return branch.certificate
    return branch.literals.setdefault(segment, _Branch())
