"""Clients that change blobs in every way, and count what was acknowledged and what was torn.

Each writer has blobs of its own, so it knows what each must be: the last acknowledged version or,
when a request got no answer, perhaps the one that was asked for. Readers look at all of them all
the time: metadata and content of a version came together, so a digest in the metadata tells.
Append blobs grow without their metadata: what is appended are frames with digests of their own.
"""

from __future__ import annotations

import hashlib
import random
import re
import struct
import threading
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

from blob_client import NoAnswer, PowerlessStorage, Reply

WRITERS = 3
READERS = 2
NAMES = 3  # of each writer
STAGED_MAX = 6
SIZES = (1_000, 30_000, 65_536, 65_537, 200_000, 500_000)
BLOCK_SIZES = (500, 20_000, 70_000, 150_000)
FRAMES = "frames"  # in place of a digest, in the metadata of append blobs
FRAME = struct.Struct(">I32s")
STAGED_ROW = re.compile(rb"<Name>([^<]+)</Name><Size>(\d+)</Size>")
PAUSE_S = 0.02


class Version(NamedTuple):
    """A blob as it may be found: its digest ("": no blob), its blocks by id, and the content of an
    append blob."""

    digest: str
    blocks: Mapping[str, bytes]
    appended: bytes | None = None


GONE = Version("", {})


class _Over(Exception):
    """Told to stop."""


class Slot:
    """What is known of one blob."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.known = GONE
        self.maybe: Version | None = None
        self.staged: dict[str, bytes] = {}
        self.unsure: str | None = None
        """A block that was sent and not acknowledged."""


class BlobWitness:
    """Writers and readers on one storage process. ``with`` it: they work until its end.

    ``refuses``: answers 507 are counted, and must have changed nothing.
    """

    def __init__(self, storage: PowerlessStorage, seed: int, *, refuses: bool = False) -> None:
        self.storage = storage
        self.refuses = refuses
        self.over = threading.Event()
        self.torn: list[str] = []
        """What must not be."""
        self.acknowledged = self.unanswered = self.refused = self.reads = 0
        self._lock = threading.Lock()
        self.slots = [[Slot(f"box/{w}-{n}") for n in range(NAMES)] for w in range(WRITERS)]
        self._threads = [_Writer(self, w, random.Random(seed * 100 + w)) for w in range(WRITERS)]
        self._threads += [_Reader(self, random.Random(seed * 100 - 1 - r)) for r in range(READERS)]

    def __enter__(self) -> BlobWitness:
        assert self.storage.ask("PUT", "box", {"restype": "container"}).status == 201
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    def is_well(self) -> bool:
        """Whether all work on and nothing is torn."""
        return not self.torn and all(thread.is_alive() for thread in self._threads)

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    def ask(self, method: str, path: str, *more: object) -> Reply:
        """Ask until there is an answer; for what changes nothing."""
        while not self.over.is_set():
            try:
                return self.storage.ask(method, path, *more)  # type: ignore[arg-type]
            except NoAnswer:
                self.over.wait(PAUSE_S)
        raise _Over

    def find_missing(self) -> list[str]:
        """What is not as it was acknowledged, once nobody writes."""
        missing = []
        for slot in (slot for mine in self.slots for slot in mine):
            allowed = {slot.known.digest}
            if slot.maybe is not None:
                allowed.add(slot.maybe.digest)
            try:
                found = digest_of(self.storage.ask("GET", slot.path))
            except NoAnswer as error:  # a content file that ends too early
                found = repr(error)
            if found not in allowed:
                missing.append(f"{slot.path}: {found} and not one of {sorted(allowed)}")
            elif slot.maybe is None:
                staged = staged_in(self.storage.ask(*list_staged(slot.path)))
                wanted = {block: len(content) for block, content in slot.staged.items()}
                staged.pop(slot.unsure or "", None)
                wanted.pop(slot.unsure or "", None)
                if staged != wanted:
                    missing.append(f"{slot.path}: staged {staged} and not {wanted}")
        return missing


class _Writer(threading.Thread):
    """Changes its blobs, one request after the other."""

    def __init__(self, witness: BlobWitness, number: int, chance: random.Random) -> None:
        super().__init__(name=f"writer-{number}")
        self._witness = witness
        self._slots = witness.slots[number]
        self._chance = chance
        self._blocks = 0

    def run(self) -> None:
        ways = [self._put, self._stage, self._stage, self._commit, self._copy, self._remove]
        ways += [self._append, self._append]
        try:
            while not self._witness.over.is_set():
                self._chance.choice(ways)(self._chance.choice(self._slots))
        except _Over:
            return

    def _put(self, slot: Slot) -> None:
        content = self._chance.randbytes(self._chance.choice(SIZES))
        headers = {"x-ms-blob-type": "BlockBlob", **digest_header(content)}
        self._change(slot, Version(hash_of(content), {}), "PUT", {}, content, headers)

    def _stage(self, slot: Slot) -> None:
        if len(slot.staged) >= STAGED_MAX or slot.known.appended is not None:
            return
        self._blocks += 1
        block = b64encode(b"%08d" % self._blocks).decode()
        content = self._chance.randbytes(self._chance.choice(BLOCK_SIZES))
        slot.unsure = block
        query = {"comp": "block", "blockid": block}
        if self._send(slot, "PUT", query, content, {}):
            slot.staged[block] = content
        slot.unsure = None

    def _commit(self, slot: Slot) -> None:
        have = {**slot.known.blocks, **slot.staged}
        if not have or slot.known.appended is not None:
            return
        order = self._chance.sample(sorted(have), self._chance.randint(1, len(have)))
        content = b"".join(have[block] for block in order)
        rows = "".join(f"<Latest>{block}</Latest>" for block in order)
        body = f"<BlockList>{rows}</BlockList>".encode()
        new = Version(hash_of(content), {block: have[block] for block in order})
        self._change(slot, new, "PUT", {"comp": "blocklist"}, body, digest_header(content))

    def _copy(self, slot: Slot) -> None:
        source = self._chance.choice(self._slots)
        kinds = {one.known.appended is None for one in (source, slot) if one.known is not GONE}
        if source is slot or source.known is GONE or len(kinds) > 1:
            return
        headers = {"x-ms-copy-source": self._witness.storage.url(source.path)}
        self._change(slot, source.known, "PUT", {}, b"", headers)

    def _append(self, slot: Slot) -> None:
        old = slot.known.appended
        if old is None:
            headers = {"x-ms-blob-type": "AppendBlob", "x-ms-meta-digest": FRAMES}
            self._change(slot, Version(hash_of(b""), {}, b""), "PUT", {}, b"", headers)
            return
        frame = frame_of(self._chance.randbytes(self._chance.choice(BLOCK_SIZES)))
        new = Version(hash_of(old + frame), {}, old + frame)
        headers = {"x-ms-blob-condition-appendpos": str(len(old))}
        self._change(slot, new, "PUT", {"comp": "appendblock"}, frame, headers)

    def _remove(self, slot: Slot) -> None:
        if slot.known is not GONE and self._chance.random() < 0.5:
            self._change(slot, GONE, "DELETE", {}, b"", {})

    def _change(
        self,
        slot: Slot,
        new: Version,
        method: str,
        query: Mapping[str, str],
        body: bytes,
        headers: Mapping[str, str],
    ) -> None:
        slot.maybe = new
        if self._send(slot, method, query, body, headers):
            slot.known, slot.staged = new, {}
        slot.maybe = None

    def _send(
        self,
        slot: Slot,
        method: str,
        query: Mapping[str, str],
        body: bytes,
        headers: Mapping[str, str],
    ) -> bool:
        """One request; whether it was done."""
        witness = self._witness
        if witness.over.is_set():
            raise _Over
        try:
            reply = witness.storage.ask(method, slot.path, query, body, headers)
        except NoAnswer:
            witness.count("unanswered")
            return self._was_done(slot)
        if reply.status in (201, 202):
            witness.count("acknowledged")
            return True
        if reply.status == 507 and witness.refuses:
            witness.count("refused")
            return self._was_refused(slot)
        witness.torn.append(f"{method} {slot.path} {query}: {reply.status} {reply.body[:300]!r}")
        raise _Over

    def _was_done(self, slot: Slot) -> bool:
        """Look what became of a request that was not answered."""
        if slot.unsure is not None:
            staged = staged_in(self._witness.ask(*list_staged(slot.path)))
            return slot.unsure in staged
        found = digest_of(self._witness.ask("GET", slot.path))
        assert slot.maybe is not None
        if found == slot.known.digest == slot.maybe.digest:  # a copy of the same; then look closer
            return staged_in(self._witness.ask(*list_staged(slot.path))) == {}
        if found not in (slot.known.digest, slot.maybe.digest):
            self._witness.torn.append(f"{slot.path}: {found} after no answer")
            raise _Over
        return found == slot.maybe.digest

    def _was_refused(self, slot: Slot) -> bool:
        """What was refused must have changed nothing."""
        found = digest_of(self._witness.ask("GET", slot.path))
        if found != slot.known.digest:
            self._witness.torn.append(f"{slot.path}: {found} after a refusal")
            raise _Over
        self._witness.over.wait(PAUSE_S)
        return False


class _Reader(threading.Thread):
    """Reads whatever blob it may be, whole or a stretch."""

    def __init__(self, witness: BlobWitness, chance: random.Random) -> None:
        super().__init__(name="reader")
        self._witness = witness
        self._chance = chance

    def run(self) -> None:
        paths = [slot.path for mine in self._witness.slots for slot in mine]
        try:
            while True:
                path = self._chance.choice(paths)
                digest_of(self._witness.ask("GET", path), self._witness.torn)
                self._witness.count("reads")
        except _Over:
            return


def list_staged(path: str) -> tuple[str, str, dict[str, str]]:
    """The request for a blob's uncommitted blocks."""
    return "GET", path, {"comp": "blocklist", "blocklisttype": "uncommitted"}


def staged_in(reply: Reply) -> dict[str, int]:
    """Uncommitted blocks and their sizes."""
    return {row[1].decode(): int(row[2]) for row in STAGED_ROW.finditer(reply.body)}


def digest_of(reply: Reply, torn: list[str] | None = None) -> str:
    """The digest of a blob that is one version, whole; else what it is."""
    if reply.status == 404:
        return ""
    found = hash_of(reply.body)
    wanted = reply.headers.get("x-ms-meta-digest")
    whole = are_frames(reply.body) if wanted == FRAMES else found == wanted
    if reply.status == 200 and whole:
        return found
    words = f"{reply.status}, {len(reply.body)} bytes of {found}, not {wanted}"
    if torn is not None:
        torn.append(words)
    return words


def frame_of(content: bytes) -> bytes:
    """What is appended at once: length, digest, content."""
    return FRAME.pack(len(content), hashlib.sha256(content).digest()) + content


def are_frames(content: bytes) -> bool:
    """Whether there is nothing but whole frames."""
    at = 0
    while at + FRAME.size <= len(content):
        size, digest = FRAME.unpack_from(content, at)
        at += FRAME.size
        if hashlib.sha256(content[at : at + size]).digest() != digest:
            return False
        at += size
    return at == len(content)


def digest_header(content: bytes) -> dict[str, str]:
    """Metadata that goes with a version."""
    return {"x-ms-meta-digest": hash_of(content)}


def hash_of(content: bytes) -> str:
    """A digest."""
    return hashlib.sha256(content).hexdigest()
