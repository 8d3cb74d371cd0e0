"""The official Python client 15.1, sync or async, behind one face.

A call waits until all is there (pages, pollers, pieces of files), every model in its answer is
compared with what the client declares, and which options it was given is written down.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import inspect
import sys
import threading
import typing
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core import MatchConditions
from azure.core.async_paging import AsyncItemPaged
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.paging import ItemPaged
from azure.core.polling import AsyncLROPoller, LROPoller

from lote.cli.ready import Ready

POLL_S = 0.05
WITHIN_S = 60.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
STALE = "0x8D0000000000000"
COVERED: dict[str, set[str]] = defaultdict(set)  # method -> names of the tests that call it


def public_methods(client: type = BatchClient) -> set[str]:
    """What the client offers, without what only concerns its own connections."""
    return {name for name in dir(client) if not name.startswith("_")} - {"close"}


def options_of(method: str) -> set[str]:
    """The keyword options of a method."""
    parameters = inspect.signature(getattr(BatchClient, method)).parameters.values()
    return {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def calls(*methods: str) -> Callable[[Callable], Callable]:
    """Marks a test that calls these methods, each with all of its options over the test."""

    def mark(test: Callable) -> Callable:
        for name in methods:
            COVERED[name].add(test.__name__)
        return pytest.mark.calls(*methods)(test)

    return mark


class Modern:
    """One test's client. Calls get a time-out and a date of their own where they take them."""

    def __init__(self, client: object, finish: Callable[[object], object]) -> None:
        self._client = client
        self._finish = finish
        self.used: dict[str, set[str]] = defaultdict(set)

    def __getattr__(self, name: str) -> Callable:
        def call(*args: object, **options: object) -> object:
            known = options_of(name)
            usual = {"service_timeout": 30, "ocp_date": now(), "polling_interval": POLL_S}
            given = {key: value for key, value in usual.items() if key in known} | options
            self.used[name] |= given.keys()
            answer = self._finish(lambda: getattr(self._client, name)(*args, **given))
            check_answer(answer)
            return answer

        return call

    def conditional(self, name: str, *args: object, etag: str, **options: object) -> object:
        """Call a method with each condition unmet, which changes nothing, then with all met."""
        is_read = name.startswith("get_") or name.endswith("_exists")
        unchanged = 304 if is_read else 412
        later = now() + timedelta(hours=1)
        for status, unmet in (
            (412, {"etag": STALE, "match_condition": MatchConditions.IfNotModified}),
            (unchanged, {"etag": etag, "match_condition": MatchConditions.IfModified}),
            (unchanged, {"match_condition": MatchConditions.IfMissing}),
            (unchanged, {"if_modified_since": later}),
            (412, {"if_unmodified_since": LONG_AGO}),
        ):
            self.unmet(status, name, *args, **options, **unmet)
        met = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        times = {"if_modified_since": LONG_AGO, "if_unmodified_since": later}
        return getattr(self, name)(*args, **options, **met, **times)

    def unmet(self, status: int, name: str, *args: object, **options: object) -> None:
        """A call whose conditions are not met."""
        found = self._refusal(name, *args, **options)
        assert found[0] == status, (options, found)

    def refused(self, status: int, code: str, name: str, *args: object, **options: object) -> None:
        """A call that the service refuses; answers to HEAD and to downloads show no code."""
        is_silent = name.endswith(("_exists", "_file_properties")) or name.startswith("download_")
        found = self._refusal(name, *args, **options)
        assert found[:2] == (status, None if is_silent else code), found

    def _refusal(self, name: str, *args: object, **options: object) -> tuple:
        """Status, code and text of a call that fails."""
        with warnings.catch_warnings():
            if name.startswith("download_"):  # the client leaves refused streams open
                warnings.simplefilter("ignore", ResourceWarning)
            try:
                getattr(self, name)(*args, **options)
            except HttpResponseError as error:
                found = error.status_code, error.error and error.error.code, str(error)
            else:
                raise AssertionError(f"{name} was not refused: {args} {options}")
            if name.startswith("download_"):
                gc.collect()
        return found


def now() -> datetime:
    return datetime.now(UTC)


# -- answers --------------------------------------------------------------------------------


def check_answer(answer: object) -> None:
    """Every model in it has the types that the client declares, and no members it lacks."""
    for one in answer if isinstance(answer, list) else [answer]:
        if hasattr(one, "_attr_to_rest_field"):
            check_model(one)


def check_model(model: object) -> None:
    hints = hints_of(type(model))
    known = {field._rest_name for field in model._attr_to_rest_field.values()}
    assert set(model.keys()) <= known | {"odata.metadata"}, type(model).__name__
    for name in model._attr_to_rest_field:
        value = getattr(model, name)
        if value is not None:
            check_value(value, hints[name], f"{type(model).__name__}.{name}")


def hints_of(model: type) -> dict[str, object]:
    """The declared types of a model's members."""
    names = vars(m) | vars(sys.modules[model.__module__]) | {"_models": m}
    return typing.get_type_hints(model, globalns=names)


def check_value(value: object, hint: object, where: str) -> None:
    if typing.get_origin(hint) is typing.Union:
        choices = [one for one in typing.get_args(hint) if one is not type(None)]
        # An enumeration is declared as "its values or any text": only its values will do.
        strict = [one for one in choices if isinstance(one, enum.EnumMeta)] or choices
        assert len(strict) == 1, (where, hint)
        check_value(value, strict[0], where)
    elif typing.get_origin(hint) is list:
        assert isinstance(value, list), where
        for one in value:
            check_value(one, typing.get_args(hint)[0], where)
    elif typing.get_origin(hint) is dict:
        assert all(isinstance(key, str) for key in value), where
    else:
        is_right = type(value) in (int, float) if hint is float else isinstance(value, hint)
        assert is_right, f"{where} is {value!r}, not {hint}"
        assert hint is bool or not isinstance(value, bool), where
        assert not isinstance(value, datetime) or value.tzinfo is not None, where
        if hasattr(value, "_attr_to_rest_field"):
            check_model(value)


# -- the two kinds of client ----------------------------------------------------------------


def finish_sync(call: Callable[[], object]) -> object:
    answer = call()
    if isinstance(answer, LROPoller):
        answer.wait(WITHIN_S)
        assert answer.done()
        assert answer.result() is None
        return answer.status()
    if isinstance(answer, ItemPaged):
        return list(answer)
    return b"".join(answer) if isinstance(answer, Iterator) else answer


async def finish_async(call: Callable[[], object]) -> object:
    answer = call()
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, AsyncLROPoller):
        assert await asyncio.wait_for(answer.result(), WITHIN_S) is None
        assert answer.done()
        return answer.status()
    if isinstance(answer, AsyncItemPaged):
        return [one async for one in answer]
    if hasattr(answer, "__aiter__"):
        return b"".join([piece async for piece in answer])
    return answer


@contextmanager
def sync_client(ready: Ready) -> Iterator[tuple[object, Callable]]:
    """The sync client, and how its answers are waited for."""
    credential = AzureNamedKeyCredential(ready.batch.account, ready.batch.key)
    with BatchClient(ready.batch.endpoint, credential, retry_total=0) as client:
        yield client, finish_sync


@contextmanager
def async_client(ready: Ready) -> Iterator[tuple[object, Callable]]:
    """The async client on an event loop of its own, and how its answers are waited for."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def finish(call: Callable[[], object]) -> object:
        return asyncio.run_coroutine_threadsafe(finish_async(call), loop).result(2 * WITHIN_S)

    async def make() -> AsyncBatchClient:
        credential = AzureNamedKeyCredential(ready.batch.account, ready.batch.key)
        return AsyncBatchClient(ready.batch.endpoint, credential, retry_total=0)

    client = asyncio.run_coroutine_threadsafe(make(), loop).result(WITHIN_S)
    try:
        yield client, finish
    finally:
        asyncio.run_coroutine_threadsafe(client.close(), loop).result(WITHIN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
