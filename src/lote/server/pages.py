"""Lists: the page asked for, the link to the next one, the members selected."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from lote.server.request import Answer, Request, json_answer
from lote.store.lists import Page
from lote.wire.errors import invalid_query
from lote.wire.filters import FILTERS, LIST_FILTERS
from lote.wire.odata import Expr, parse_filter, parse_select, select_members
from lote.wire.spelling import selectable_members, spelling


class HasId(Protocol):
    """Anything that is listed in order of ids."""

    @property
    def id(self) -> str:
        """Its id."""


R = TypeVar("R", bound=HasId)


def page_of(request: Request) -> Page:
    """The part of a list that a request asks for. Refuses: InvalidQueryParameterValue."""
    return Page(after_id(request), request.page_size, filter_of(request))


def filter_of(request: Request) -> Expr | None:
    """The request's ``$filter`` over the properties that this list can be filtered by."""
    text = request.query.get("filter")
    return parse_filter(text, FILTERS[LIST_FILTERS[request.operation.name]]) if text else None


def answer_page(
    request: Request,
    records: Sequence[R],
    struct: type[msgspec.Struct],
    view: Callable[[R], Any],
) -> Answer:
    """A page of a list; ``records`` holds one more than the page if there is a next one."""
    size = request.page_size
    choose = choice(request, struct)
    shown = [choose(view(record)) for record in records[:size]]
    next_id = records[size - 1].id if len(records) > size else None
    return answer_list(request, shown, next_id)


def answer_list(request: Request, shown: list[Any], next_id: str | None = None) -> Answer:
    """The envelope of a list; ``next_id`` is the last id of this page if there is another."""
    body: dict[str, Any] = {
        "odata.metadata": f"{request.base_url}/$metadata#{request.operation.metadata}",
        "value": shown,
    }
    if next_id is not None:
        body["odata.nextLink"] = _next_link(request, next_id)
    return json_answer(body)


def answer_one(
    request: Request, shown: dict[str, Any], struct: type[msgspec.Struct], modified_us: int | None
) -> Answer:
    """One entity, with its metadata first and only the members selected."""
    return answer_chosen(request, chosen(request, struct, shown), modified_us)


def answer_chosen(request: Request, shown: dict[str, Any], modified_us: int | None) -> Answer:
    """One entity whose members are chosen already, with its metadata first."""
    body = {"odata.metadata": f"{request.base_url}/$metadata#{request.operation.metadata}"}
    return json_answer(body | shown, modified_us)


def chosen(request: Request, struct: type[msgspec.Struct], shown: dict[str, Any]) -> dict[str, Any]:
    """A ``struct`` as the client's api-version spells it: all its members, or those of ``$select``.

    Refuses: InvalidQueryParameterValue.
    """
    return choice(request, struct)(shown)


def choice(
    request: Request, struct: type[msgspec.Struct]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What ``chosen`` does, for a whole page: options are read once. Refuses as that does."""
    plan = spelling(struct, request.api_version)
    names = selected(request, struct)
    if not names:
        return plan
    return lambda shown: select_members(plan(shown), names)


def selected(request: Request, struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The members of ``$select``; () for all. Refuses: InvalidQueryParameterValue, for members
    that there are not."""
    select = request.query.get("select")
    return parse_select(select, selectable_members(struct)) if select else ()


def paged(request: Request, items: Sequence[R]) -> tuple[list[R], str | None]:
    """The page of a list that is all in memory, in order of ``id_order``, and its last id."""
    last = after_id(request)
    rest = [item for item in items if last is None or id_order(item.id) > id_order(last)]
    size = request.page_size
    page = rest[:size]
    return page, page[-1].id if len(rest) > size else None


def id_order(name: str) -> tuple[str, str]:
    """Sorts without regard to case; names of files that differ only in case keep one order."""
    return name.lower(), name


def after_id(request: Request) -> str | None:
    """The last id of the page before the one asked for; None for the first page.

    Refuses: InvalidQueryParameterValue.
    """
    token = request.query.get("skiptoken")
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        return base64.urlsafe_b64decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise invalid_query("$skiptoken", token[:64], "This is not a token of this list.") from None


def _next_link(request: Request, last_id: str) -> str:
    token = base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")
    parts = [f"$skiptoken={token}"]
    names = ("$filter", "$select", "$expand", "maxresults", "recursive", "starttime", "endtime")
    for name in names:
        value = request.query.get(name.lstrip("$"))
        parts += [f"{name}={quote(value, safe='')}"] if value else []
    parts.append(f"api-version={request.api_version}")
    return f"{request.base_url}{request.path}?{'&'.join(parts)}"
