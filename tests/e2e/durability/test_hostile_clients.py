"""Slow, wrong and greedy clients: the service stays small and goes on answering a good one.

Longer by ``scripts/endurance hostile``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from endurance import LENGTH, SEED
from harness import Lote, lote_service, until
from raw_http import Answer, GoodClient, Signer, Wire, head, memory_bytes, wire

HEAD_S = 3
STALL_S = 2
QUEUE_MAX = 24
IDLE = 500
FLOOD_S = 6 * LENGTH
BAD_SIGNATURES = 10_000 * LENGTH
GROWTH_BYTES_MAX = 96 << 20
WRONG_KEY = "d3Jvbmc="
TASK = {"commandLine": "/bin/true"}

LIMITS = {
    "LOTE_HEAD_S": str(HEAD_S),
    "LOTE_BODY_STALL_S": str(STALL_S),
    "LOTE_OWNER_QUEUE_MAX": str(QUEUE_MAX),
}


@pytest.fixture(scope="module")
def lote() -> Iterator[Lote]:
    with lote_service(environment=LIMITS) as lote:
        lote.add_job("j", pool_id="none")
        yield lote


@pytest.fixture
def signer(lote: Lote) -> Signer:
    return Signer(lote)


@pytest.fixture
def urls(lote: Lote) -> dict[str, str]:
    assert lote.ready is not None
    batch, storage = lote.ready.batch, lote.ready.storage
    assert storage is not None
    return {
        "batch": batch.endpoint,
        "batch over TLS": batch.tls_endpoint,
        "storage": storage.blob_endpoint,
        "storage over TLS": storage.tls_blob_endpoint,
    }


@pytest.fixture(autouse=True)
def small_service(lote: Lote) -> Iterator[None]:
    """Whatever a test does, no process of the service may grow much, or log much."""
    storage = lote.storage_process()
    assert storage is not None
    pids = {"server": lote.pid, "storage": storage.pid}
    before = {name: memory_bytes(pid) for name, pid in pids.items()}
    log_bytes = lote.log.stat().st_size
    yield
    grown = {name: memory_bytes(pid) - before[name] for name, pid in pids.items()}
    print({name: f"{growth >> 20} MiB more" for name, growth in grown.items()})
    assert all(growth < GROWTH_BYTES_MAX for growth in grown.values()), grown
    assert lote.log.stat().st_size - log_bytes < 64 << 10


def test_idle_connections_are_closed_and_harm_nobody(lote: Lote, urls: dict[str, str]) -> None:
    kinds = [
        ("batch", False),
        ("storage", False),
        ("batch over TLS", True),
        ("storage over TLS", True),
        # Idle before its handshake; the TLS layer has a limit of its own for that, of a minute.
        ("batch over TLS", False),
    ]

    async def idle() -> Counter[tuple[str, bool]]:
        async with AsyncExitStack() as stack:
            wires = [
                (kind, await stack.enter_async_context(wire(urls[kind[0]], speaks_tls=kind[1])))
                for kind in kinds * (IDLE // len(kinds))
            ]
            watched = [(kind, one) for kind, one in wires if kind != kinds[-1]]
            closed = await asyncio.gather(*(one.closed(HEAD_S * 3) for _, one in watched))
            return Counter(kind for (kind, _), gone in zip(watched, closed, strict=True) if gone)

    with GoodClient(lote, "idle") as good:
        closed = asyncio.run(idle())
    good.check("500 idle connections")
    assert closed == dict.fromkeys(kinds[:-1], IDLE // len(kinds))


async def drip(one: Wire, content: bytes, every_s: float = 0.5) -> Answer | None:
    """Send byte by byte until there is an answer."""
    answer = asyncio.create_task(one.answer())
    for index in range(len(content)):
        if not await one.send(content[index : index + 1]):
            break
        await asyncio.wait([answer], timeout=every_s)
        if answer.done():
            break
    return await answer


def test_slow_heads_and_slow_bodies_are_given_up(
    lote: Lote, urls: dict[str, str], signer: Signer
) -> None:
    whole = signer.request("POST", "/jobs/j/tasks", TASK | {"id": "slow"}, length=500)
    slow_head, slow_body = whole[:60], b"x" * 500
    sas = lote.container("none").signature
    put = head("PUT", f"/lotestorage/none/b?{sas}", {"content-length": "200000",
               "x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"})  # fmt: skip

    async def slow() -> list[Answer | None]:
        async with AsyncExitStack() as stack:
            dripping = []
            for start, rest in ((b"", slow_head), (whole, slow_body)):
                for _ in range(40):
                    one = await stack.enter_async_context(wire(urls["batch"]))
                    assert await one.send(start)
                    dripping.append(drip(one, rest))
            for _ in range(20):
                one = await stack.enter_async_context(wire(urls["storage"]))
                assert await one.send(put)
                dripping.append(drip(one, slow_body))
            return await asyncio.gather(*dripping)

    lote.add_container("none")
    with GoodClient(lote, "slow") as good:
        answers = asyncio.run(slow())
    good.check("slow heads and bodies")
    assert Counter(one.status if one else 0 for one in answers) == {408: 100}
    assert lote.ask("GET", "/jobs/j/tasks/slow").status == 404


def test_ten_thousand_bad_signatures(lote: Lote, urls: dict[str, str], signer: Signer) -> None:
    request = signer.request("POST", "/jobs/j/tasks", TASK | {"id": "bad"}, key=WRONG_KEY)
    blob = head("GET", "/lotestorage/c/b", {"x-ms-version": "2021-12-02",
                "authorization": f"SharedKey lotestorage:{WRONG_KEY}",
                "x-ms-date": "Fri, 01 Jan 2021 00:00:00 GMT"})  # fmt: skip

    async def attack(url: str, content: bytes, times: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        async with wire(url) as one:
            for _ in range(times):
                assert await one.send(content)
                answer = await one.answer()
                assert answer is not None
                seen[answer.status] += 1
        return seen

    async def everybody() -> Counter[int]:
        times = BAD_SIGNATURES // 20
        attacks = [attack(urls["batch"], request, times) for _ in range(16)]
        attacks += [attack(urls["storage"], blob, times) for _ in range(4)]
        return sum(await asyncio.gather(*attacks), Counter())

    with GoodClient(lote, "signatures") as good:
        seen = asyncio.run(everybody())
    good.check("10,000 bad signatures")
    assert seen == {403: BAD_SIGNATURES}
    assert lote.ask("GET", "/jobs/j/tasks/bad").status == 404


MEGABYTE = "x" * (1 << 20)
OVERSIZED = {
    "one header of 1 MB": (head("GET", "/", {"a": MEGABYTE}), 431),
    "1 MB of headers": (head("GET", "/", [(f"a{n}", "x" * 8192) for n in range(128)]), 431),
    "10,000 headers": (head("GET", "/", [(f"a{n}", "x") for n in range(10_000)]), 431),
    "a name of 1 MB": (head("GET", "/", {MEGABYTE: "a"}), 431),
    "a target of 1 MB": (head("GET", f"/{MEGABYTE}", {}), 414),
    "a query of 1 MB": (head("GET", f"/jobs?{MEGABYTE}", {}), 414),
}


@pytest.mark.parametrize("what", OVERSIZED)
def test_oversized_heads_are_refused(what: str, lote: Lote, urls: dict[str, str]) -> None:
    content, status = OVERSIZED[what]

    async def once(url: str) -> int:
        async with wire(url) as one:
            await one.send(content)
            answer = await one.answer()
            return answer.status if answer else 0

    async def everywhere() -> dict[str, set[int]]:
        return {
            name: set(await asyncio.gather(*(once(url) for _ in range(10))))
            for name, url in urls.items()
        }

    with GoodClient(lote, what.replace(" ", "").replace(",", "")) as good:
        seen = asyncio.run(everywhere())
        until_served(good)
    good.check(what)
    for name, statuses in seen.items():
        # Over TLS a connection cannot be half closed: the answer may be lost to a client that
        # goes on sending.
        assert statuses <= ({status, 0} if "TLS" in name else {status}), (name, statuses)


def until_served(good: GoodClient) -> None:
    until(lambda: len(good.reads_s) >= 3 or not good.is_alive(), "the good client's answers")


def test_garbage_on_every_port(lote: Lote, urls: dict[str, str], signer: Signer) -> None:
    chance = random.Random(SEED)
    good_request = signer.request("GET", "/jobs/j")
    hello = bytes.fromhex("160301020001000001fc0303") + chance.randbytes(512)
    pieces = [
        chance.randbytes(4096),
        b"\0" * 65536,
        b"\r\n" * 20_000,
        b"GET / HTTP/1.1\r\n" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"POST /jobs HTTP/1.1\r\nhost: h\r\ncontent-length: -5\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /%ff%00\xff HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        head("GET", "/node/channel", {"upgrade": "websocket", "connection": "upgrade"}),
        hello,
        hello[:7],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        good_request + chance.randbytes(2048),
        good_request * 2000,  # pipelined far beyond what any client sends
    ]

    async def once(url: str, content: bytes, speaks_tls: bool) -> None:
        async with wire(url, speaks_tls=speaks_tls) as one:
            # Half a handshake may wait for its other half; all else is answered or cut off.
            if await one.send(content) and content != hello[:7]:
                answer = await one.answer()
                assert answer is None or answer.status >= 200

    async def everything() -> None:
        jobs = [
            once(url, content, speaks_tls)
            for name, url in urls.items()
            for content in pieces
            for speaks_tls in ({False, "TLS" in name})
        ]
        await asyncio.gather(*jobs)

    with GoodClient(lote, "garbage") as good:
        asyncio.run(everything())
    good.check("garbage")


async def requests_until(
    over: Callable[[], bool], url: str, name: str, content: AsyncIterator[bytes]
) -> Counter[str]:
    seen: Counter[str] = Counter()
    async with wire(url) as one:
        while not over():
            assert await one.send(await anext(content))
            answer = await one.answer()
            assert answer is not None
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) > 0
            seen[f"{name} {answer.status}"] += 1
    return seen


def test_a_flood_of_good_requests(lote: Lote, urls: dict[str, str], signer: Signer) -> None:
    sas = lote.add_container("flood").signature

    async def tasks(worker: int) -> AsyncIterator[bytes]:
        number = 0
        while True:
            entries = [TASK | {"id": f"f-{worker}-{number}-{n}"} for n in range(100)]
            yield signer.request("POST", "/jobs/j/addtaskcollection", {"value": entries})
            number += 1

    async def blobs(worker: int) -> AsyncIterator[bytes]:
        headers = {"content-length": "4096", "x-ms-version": "2021-12-02",
                   "x-ms-blob-type": "BlockBlob"}  # fmt: skip
        while True:
            name = f"/lotestorage/flood/{worker}"
            yield head("PUT", f"{name}?{sas}", headers) + os.urandom(4096)

    async def flood(good: GoodClient) -> Counter[str]:
        begun_s = lote.world.monotonic()

        def over() -> bool:
            enough = lote.world.monotonic() - begun_s > FLOOD_S and len(good.reads_s) >= 3
            return enough or not good.is_alive()

        workers = [requests_until(over, urls["batch"], "tasks", tasks(one)) for one in range(64)]
        workers += [requests_until(over, urls["storage"], "blobs", blobs(one)) for one in range(32)]
        async with asyncio.timeout(100 + LENGTH * 30):
            return sum(await asyncio.gather(*workers), Counter())

    with GoodClient(lote, "flood") as good:
        seen = asyncio.run(flood(good))
    print(seen)
    good.check("a flood of 64 connections", write_s=(1, 5))
    assert set(seen) == {"tasks 200", "tasks 503", "blobs 201"}
    assert lote.counts()["active"] >= seen["tasks 200"] * 100


def test_more_connections_than_there_may_be() -> None:
    cap = 40
    with lote_service(environment={"LOTE_CONNECTIONS_MAX": str(cap)}) as lote:
        assert lote.ready is not None
        lote.add_job("j", pool_id="none")
        url = lote.ready.batch.endpoint
        # Signed, or it would have its answer at once.
        whole = Signer(lote).request("POST", "/jobs/j/tasks", TASK | {"id": "x"}, length=5000)
        request = whole.partition(b"\r\n\r\n")[0] + b"\r\nexpect: 100-continue\r\n\r\n"

        async def idle_crowd() -> int:
            async with AsyncExitStack() as stack:
                idle = [await stack.enter_async_context(wire(url)) for _ in range(5 * cap)]
                return sum(await asyncio.gather(*(one.closed(2) for one in idle)))

        async def busy_crowd() -> tuple[int, Answer]:
            """How many were told to go on, until one was told to come again later."""
            async with AsyncExitStack() as stack:
                for told in range(2 * cap):
                    one = await stack.enter_async_context(wire(url))
                    await one.send(request)
                    answer = await one.answer()
                    assert answer
                    if answer.status != 100:
                        return told, answer
            raise AssertionError("all were told to go on")

        with GoodClient(lote, "crowd") as good:
            assert 4 * cap <= asyncio.run(idle_crowd()) <= 5 * cap
            until_served(good)
        good.check("a crowd")
        number, answer = asyncio.run(busy_crowd())
        assert cap - 2 <= number <= cap
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert lote.counts()["active"] == 0
