"""Whatever comes in over HTTP, signed well or not, is answered: no fault, no trace of a stack.

The whole application of the listeners over a real database, without sockets (those have tests of
their own: hostile clients). Only operations that read rows: all others need the owner's thread,
which does not run here.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from bench import Bench, a_task
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lote.cli.shared_key import authorization
from lote.server.bearer import Bearer
from lote.server.folder import AccountFile
from lote.server.http import Service
from lote.store.database import open_reader
from lote.tokens.task_tokens import TaskTokens
from lote.tokens.verify import TokenVerifier
from lote.wire.errors import ERRORS
from lote.wire.filters import FILTERS
from lote.wire.formats import format_http_date
from lote.wire.odata import FILTER_CHARS_MAX

KEYS = tuple(base64.b64encode(bytes([n]) * 64).decode() for n in (1, 2))
VERSION = "api-version=2025-06-01"
FILTER_CPU_S_MAX = 5.0  # ours: far above what is measured, far below a hang
Ask = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Sends one request to the application: (status, headers, body)."""
    bench = Bench(tmp_path_factory.mktemp("hostile"))
    bench.add_pool()
    bench.add_job()
    tasks = [a_task(f"t{number}") for number in range(50)]
    bench.ask("create_task_collection", {"value": tasks}, job_id="j", settled=False)
    account = AccountFile("lote", KEYS, "storage", KEYS)
    service = a_service(bench, account)
    with asyncio.Runner() as runner:

        def send(
            method: str, target: str, headers: dict[str, str], *, signs: bool = True
        ) -> tuple[int, dict[str, str], bytes]:
            sent = {"ocp-date": format_http_date(bench.world.now_us())} | headers
            if signs:
                sent["authorization"] = authorization("lote", KEYS[0], method, target, sent)
            return runner.run(exchanged(service, method, target, sent))

        yield send
    service.close()
    bench.close()


def a_service(bench: Bench, account: AccountFile) -> Service:
    bearer = Bearer(TokenVerifier([], bench.world), TaskTokens(b"hush"), [], "https://h/tenant")
    return Service(
        bench.settings, account, bench.owner, None, None, lambda: open_reader(bench.path),
        bench.world, bearer,
    )  # fmt: skip


async def exchanged(
    service: Service, method: str, target: str, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "scheme": "https",
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await service(scope, receive, send)
    start, *parts = sent
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], found, b"".join(part.get("body", b"") for part in parts)


def check_answer(status: int, headers: dict[str, str], body: bytes) -> None:
    """A success, or a refusal in the protocol's own words."""
    assert b"Traceback" not in body
    assert status < 500 or status == 501, body
    assert "\n" not in "".join(headers.values())
    if status >= 400 and body:
        assert msgspec.json.decode(body)["code"] in ERRORS


# -- headers ------------------------------------------------------------------------------------

# White space around a value is not part of it: parsers of HTTP drop it, clients do not sign it.
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60).map(str.strip)
KEY_WORDS = st.lists(
    st.sampled_from(["SharedKey", "Bearer", "lote", "127", ":", " ", "=", ",", "a.b.c", "\xff"]),
    max_size=8,
).map("".join)
DATES = st.builds(
    "{} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Thu,", "Thursday,", "", "\xe9,"]),
    st.sampled_from(["24 Oct", "0 Feb", "31-Feb", "99 Xyz"]),
    st.sampled_from(["2024", "24", "0000", "9999", "99999"]),
    *[st.integers(-1, 99)] * 3,
    st.sampled_from(["GMT", "UTC", "+0000", "+9999", ""]),
)
RANGES = st.builds("{}{}-{}".format, st.sampled_from(["bytes=", "bytes ", "b", ""]), TEXT, TEXT)
RANGES = RANGES.map(str.strip)
ETAGS = st.sampled_from(["*", '"*"', 'W/"0x8"', '"', "W/", '""', "0x" + "F" * 40]) | TEXT
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "if-match": ETAGS,
        "if-none-match": ETAGS,
        "if-modified-since": DATES | TEXT,
        "if-unmodified-since": DATES | TEXT,
        "ocp-range": RANGES,
        "range": RANGES,
        "ocp-odd": TEXT,
        "content-length": TEXT,
        "content-type": TEXT,
        "content-md5": TEXT,
        "host": TEXT,
        "client-request-id": TEXT,
        "return-client-request-id": st.sampled_from(["true", "True", "x"]),
    },
)
PATHS = st.sampled_from(
    ["/jobs", "/jobs/j", "/jobs/j/tasks", "/jobs/j/tasks/t1", "/pools", "/pools/p", "/jobschedules"]
)


@given(PATHS, st.sampled_from(["GET", "HEAD"]), HEADERS)
def test_odd_headers_of_a_good_client(ask, path, method, headers):
    status, found, body = ask(method, f"{path}?{VERSION}", headers)
    check_answer(status, found, body)
    assert status != 403, "what was sent is what was signed"


@given(PATHS, KEY_WORDS | TEXT, DATES | TEXT, HEADERS)
@example("/jobs", "SharedKey lote:" + "A" * 44, "", {})
@example("/jobs", "Bearer ", "", {})
@example("/jobs", "Bearer a.b.c", "", {})
def test_what_was_not_signed_is_refused(ask, path, value, date, headers):
    headers = headers | {"authorization": value, "ocp-date": date}
    status, found, body = ask("GET", f"{path}?{VERSION}", headers, signs=False)
    check_answer(status, found, body)
    assert status in (400, 401, 403)


# -- targets ------------------------------------------------------------------------------------

SEGMENTS = st.sampled_from(
    ["jobs", "JOBS", "j", "tasks", "pools", "p", "file", "%2F", "%", "%zz", "%00", "..",
     "", "(", "certificates(thumbprintAlgorithm=a,thumbprint=b)", "%C3%28", "taskcounts"]
)  # fmt: skip
PIECES = st.sampled_from(
    ["$filter=", "$select=", "$expand=", "maxresults=", "$skiptoken=", "api-version=", "timeout=",
     "&", "=", "%", "%zz", "%00", "%ff", "+", "id", "state", "stats", "1", "-", "'", " eq ", ",",
     "2025-06-01", "bnVsbA", "_w", "A"]
)  # fmt: skip


@given(st.lists(SEGMENTS, max_size=8), st.lists(PIECES, max_size=14))
def test_any_target(ask, segments, pieces):
    target = "/" + "/".join(segments) + "?" + "".join(pieces).replace(" ", "%20")
    check_answer(*ask("GET", target, {}))
    check_answer(*ask("GET", f"{target}&{VERSION}", {}))


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/certificates", "2025-06-01"),
        ("/lifetimejobstats", "2025-06-01"),
        ("/nodeagentskus", "2025-06-01"),
        ("/supportedimages", "2016-02-01.3.0"),
    ],
)
def test_an_operation_is_carried_out_in_versions_without_it(ask, path, version):
    status, _, body = ask("GET", f"{path}?api-version={version}", {})
    assert status == 200, body


@given(st.sampled_from(["jobs", "pools", "jobs/j/tasks"]), st.lists(PIECES, max_size=14))
def test_any_query_of_a_list(ask, path, pieces):
    query = "".join(pieces).replace(" ", "%20")
    check_answer(*ask("GET", f"/{path}?{VERSION}&{query}", {}))


# -- filters ------------------------------------------------------------------------------------

PROPERTIES = sorted({name for noun in ("pools", "jobs", "tasks") for name in FILTERS[noun]})
TOKENS = st.sampled_from(
    [*PROPERTIES, "eq", "ne", "lt", "and", "or", "not", "startswith", "(", ")", ",", "''", "'a'",
     "'''", "1", "-99999999999999999999", "true", "null", "datetime'2025-01-01T00:00:00Z'",
     "datetime'9999-12-31T23:59:60Z'", "datetimeoffset''", "$", "\x00", "\u00e9", "%"]
)  # fmt: skip


def escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["jobs", "pools", "jobs/j/tasks", "jobschedules"]), st.lists(TOKENS))
def test_any_filter(ask, path, tokens):
    target = f"/{path}?{VERSION}&$filter={escaped(' '.join(tokens))}"
    status, headers, body = ask("GET", target, {})
    check_answer(status, headers, body)
    assert status in (200, 400)


def repeated(text: str) -> str:
    return "".join(itertools.islice(itertools.cycle(text), FILTER_CHARS_MAX))


HOSTILE = {
    "nested": repeated("("),
    "negated": repeated("not "),
    "quotes": repeated("'"),
    "odd quotes": repeated("'")[1:],
    "dates": repeated("datetime'"),
    "blanks": " " * (FILTER_CHARS_MAX - 1) + "x",
    "digits": "executionInfo/exitCode eq " + "9" * 16_000,
    "word": repeated("a/"),
    "marks": repeated("(,"),
    "long": " or ".join(["id eq 'a'"] * 1250),
    "alternating": " and ".join(["id ne 'a' or id ne 'b'"] * 600),
    "prefixes": " and ".join(["startswith(id,'t')"] * 680),
    "pattern": "startswith(id,'" + repeated("%_\\")[:16_000] + "')",
    "too long": "id eq 'a' " + " " * FILTER_CHARS_MAX + "or",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_filter_takes_no_longer_than_it_may(ask, name):
    target = f"/jobs/j/tasks?{VERSION}&$filter={escaped(HOSTILE[name])}"
    began_s = time.process_time()
    status, headers, body = ask("GET", target, {})
    took_s = time.process_time() - began_s
    check_answer(status, headers, body)
    assert status in (200, 400)
    assert took_s < FILTER_CPU_S_MAX
