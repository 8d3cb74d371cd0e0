"""A container with a million blobs: its lists, and its end while others go on."""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from blob_accounts import NAME, Served, own_account, scratch
from blob_pump import Done, Signer, ask_once, pump
from figures import Figure, from_runs, percentile, reference_count
from processes import peak_rss_bytes, rss_bytes
from reference import repeat
from service import wait_until
from storage_limits import make_box

from lote.storage.blob import NewContent, Target, put_blob
from lote.storage.conditions import NO_CONDITIONS
from lote.storage.container import add_container
from lote.storage.database import open_reader
from lote.storage.depot import Depot
from lote.storage.snapshot import DATABASE_NAME
from lote.storage.writer import Transaction
from lote.world import World

QUESTION = "storage"
MIB = 1 << 20
PAGE = 5000
FOLDS = 1000  # prefixes of a million names
CONTENT = b"0123456789" * 10
TRANSACTION = 20_000
OTHERS = 500  # requests of others, before and while the million goes
CONNECTIONS = 4
DELETED_WITHIN_S = 600.0
MARKER = re.compile(rb"<NextMarker>([^<]*)</NextMarker>")
PROPERTIES = {"content_type": "application/octet-stream", "content_md5": "eB5eJF1ptWaXm4bijSPyxw=="}


class Million(msgspec.Struct):
    """Rates of lists, times of requests in ms."""

    rows_s: float
    first_ms: float
    folded_ms: float
    quiet: list[float]
    during: list[float]
    grown_mib: float
    gone_s: float


def fill(folder: Path, count: int) -> None:
    """Put the rows in as the service would, without its HTTP: an hour's work in a minute."""
    depot = Depot(folder, World())
    connection = depot.writer._connection
    with Transaction(connection, 0) as tx:
        key = add_container(tx, NAME, "many", {}).id
    for first in range(0, count, TRANSACTION):
        with Transaction(connection, time.time_ns() // 1000) as tx:
            for number in range(first, min(first + TRANSACTION, count)):
                name = b"fold-%04d/blob-%07d" % (number * FOLDS // count, number)
                new = NewContent(len(CONTENT), None, CONTENT)
                put_blob(tx, Target(key, name, NO_CONDITIONS), new, PROPERTIES, {})
    depot.start()
    depot.close()


def list_all(served: Served, signer: Signer) -> tuple[float, float, int]:
    """All pages: seconds in all, of the first page, and how many blobs they had."""
    marker, found, first_s = "", 0, 0.0
    began = time.monotonic()
    while True:
        query = {"restype": "container", "comp": "list", "maxresults": str(PAGE)}
        query |= {"marker": marker} if marker else {}
        spent_s, body = ask_once(served, signer.request("GET", "/many", query))
        first_s = first_s or spent_s
        found += body.count(b"<Blob>")
        match = MARKER.search(body)
        if match is None:
            return time.monotonic() - began, first_s, found
        marker = match[1].decode()


def list_folded(served: Served, signer: Signer) -> tuple[float, int]:
    """The prefixes alone: seconds, and how many."""
    query = {"restype": "container", "comp": "list", "delimiter": "/"}
    spent_s, body = ask_once(served, signer.request("GET", "/many", query))
    return spent_s, body.count(b"<BlobPrefix>")


def others(served: Served, signer: Signer, count: int) -> list[Done]:
    """Requests of others: small blobs up and down in turn."""
    content = os.urandom(1024)
    ask_once(served, signer.put("/box/kept", content))
    requests = []
    for number in range(count // 2):
        path = f"/box/{number % 100:03}"
        requests += [signer.put(path, content), signer.get("/box/kept")]
    return pump(served, requests, CONNECTIONS)


def blobs_left(folder: Path) -> int:
    """Whether rows of deleted containers are left: 1 or 0."""
    with closing(open_reader(folder / DATABASE_NAME)) as connection:
        try:
            row = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM container WHERE account IS NULL)"
            )
            return int(row.fetchone()[0])
        except sqlite3.OperationalError:  # the writer has it for itself
            return 1


@contextmanager
def prepared(given: argparse.Namespace) -> Iterator[Callable[[], Million]]:
    """An account with a million blobs of 100 bytes, in rows."""
    count = 20_000 if given.small else 1_000_000
    with scratch() as folder:
        fill(folder, count)
        with own_account(folder) as served:
            signer = Signer(served)
            make_box(signer, served)

            def run() -> Million:
                before = rss_bytes(served.pid)
                spent_s, first_s, found = list_all(served, signer)
                folded_s, folds = list_folded(served, signer)
                if (found, folds) != (count, FOLDS):
                    raise RuntimeError(f"{found} blobs and {folds} prefixes were listed")
                quiet = others(served, signer, OTHERS)
                during: list[Done] = []
                over = threading.Event()

                def meanwhile() -> None:
                    while not over.is_set():
                        during.extend(others(served, signer, OTHERS))

                asker = threading.Thread(target=meanwhile)
                began = time.monotonic()
                ask_once(served, signer.request("DELETE", "/many", {"restype": "container"}))
                asker.start()
                try:
                    wait_until(
                        lambda: blobs_left(folder) == 0,
                        what="the end of the container",
                        within_s=DELETED_WITHIN_S,
                        poll_s=0.05,
                    )
                    gone_s = time.monotonic() - began
                finally:
                    over.set()
                    asker.join()
                return Million(
                    found / spent_s, 1000 * first_s, 1000 * folded_s,
                    [1000 * one[0] for one in quiet], [1000 * one[0] for one in during],
                    (peak_rss_bytes(served.pid) - before) / MIB, gone_s,
                )  # fmt: skip

            yield run


def million_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """Lists and the end of a million blobs, once."""
    runs = repeat(lambda: prepared(given), 1, **reference_count(given))
    one = runs.results[-1]
    many = "20,000" if given.small else "a million"

    def figure(what: str, unit: str, value: float, note: str = "", better: str = "less") -> Figure:
        return from_runs(QUESTION, what, unit, [value], runs, note=note, better=better)

    yield figure(f"list of {many} by pages of 5,000", "blobs/s", one.rows_s, better="more")
    yield figure(f"first page of {many}", "ms", one.first_ms)
    yield figure(f"list of {FOLDS:,} prefixes that fold {many}", "ms", one.folded_ms)
    yield figure(f"a container of {many} deleted, until all is gone", "s", one.gone_s)
    for what, times in (("before", one.quiet), ("meanwhile", one.during)):
        note = f"p99 {percentile(times, 99):.1f}, longest {max(times):.0f}, {len(times):,} requests"
        yield figure(
            f"others' requests {what}, {CONNECTIONS} connections", "ms", percentile(times, 50), note
        )
    yield figure(
        f"memory of the process: peak growth, {many} listed and deleted", "MiB", one.grown_mib
    )
