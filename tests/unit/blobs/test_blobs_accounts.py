"""Accounts, addresses and signatures."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from azure.storage.blob import generate_blob_sas, generate_container_sas
from hypothesis import given
from hypothesis import strategies as st

from lote.blobs.accounts import StorageAccount
from lote.blobs.parts import BLOCKS_MAX, block_id, block_size
from lote.blobs.sas import SAS_VERSION, blob_sas, container_sas
from lote.blobs.urls import BlobAddress, compose_url, parse_url, redact

KEY = "a2V5" * 16
EXPIRY_US = 1_900_000_000_000_000
EXPIRY = datetime.fromtimestamp(1_900_000_000, UTC)


def signature(query):
    return parse_qs(query)["sig"]


def test_signatures_are_those_of_the_official_client(monkeypatch):
    monkeypatch.setattr("azure.storage.blob._shared_access_signature.X_MS_VERSION", SAS_VERSION)
    ours = container_sas("acct", KEY, "box", "lwr", EXPIRY_US)
    theirs = generate_container_sas("acct", "box", KEY, permission="rwl", expiry=EXPIRY)
    assert parse_qs(ours) == parse_qs(theirs)
    ours = blob_sas("acct", KEY, "box", "a/ü x", "r", EXPIRY_US, EXPIRY_US - 10**9)
    start = datetime.fromtimestamp(1_900_000_000 - 1000, UTC)
    theirs = generate_blob_sas(
        "acct", "box", "a/ü x", account_key=KEY, permission="r", expiry=EXPIRY, start=start
    )
    assert parse_qs(ours) == parse_qs(theirs)


@pytest.mark.parametrize("permissions", ["", "z", "r w"])
def test_unknown_permissions_are_refused(permissions):
    with pytest.raises(ValueError, match="not permissions"):
        container_sas("acct", KEY, "box", permissions, EXPIRY_US)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (f"AccountName=a;AccountKey={KEY}", "https://a.blob.core.windows.net"),
        (
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={KEY};EndpointSuffix=e.org",
            "http://a.blob.e.org",
        ),
        (f"AccountName=a;AccountKey={KEY};BlobEndpoint=http://h:1/a/;", "http://h:1/a"),
    ],
)
def test_connection_strings(text, endpoint):
    account = StorageAccount.from_connection_string(text)
    assert account == ("a", KEY, endpoint)
    assert StorageAccount.from_connection_string(account.connection_string) == account
    assert KEY not in repr(account) + str(account)


def test_the_development_account():
    account = StorageAccount.from_connection_string("UseDevelopmentStorage=true")
    assert account.blob_endpoint == "http://127.0.0.1:10000/devstoreaccount1"


@pytest.mark.parametrize("text", ["", "AccountName=a", f"AccountKey={KEY}", "x=y;SharedAccess=s"])
def test_strings_without_a_key_are_refused(text):
    with pytest.raises(ValueError, match="AccountName and AccountKey") as refused:
        StorageAccount.from_connection_string(text)
    assert KEY not in str(refused.value)


def test_signed_urls():
    account = StorageAccount("a", KEY, "http://h:1/a")
    url = account.sas_url("box", "rl", EXPIRY_US)
    assert url.startswith("http://h:1/a/box?sv=")
    url = account.blob_sas_url("box", "d/ x", "r", EXPIRY_US)
    assert url.startswith("http://h:1/a/box/d/%20x?sv=")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(blob=NAMES.filter(lambda name: not name.startswith("/")))
def test_addresses_come_back(blob):
    for endpoint in ("http://127.0.0.1:10000/acct", "https://acct.blob.core.windows.net"):
        address = BlobAddress(endpoint, "acct", "box", blob, "sig=1")
        assert parse_url(compose_url(address)) == address


@pytest.mark.parametrize("url", ["ftp://h/a/b", "box/blob", "https://a.blob.core.windows.net/", ""])
def test_what_is_no_address(url):
    with pytest.raises(ValueError, match="URL"):
        parse_url(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h/b?sig=abc%3D&se=1", "http://h/b?sig=REDACTED&se=1"),
        ("at http://h/b?sv=1&SIG=abc: 404", "at http://h/b?sv=1&SIG=REDACTED 404"),
        ("http://user:pw@h/b", "http://REDACTED@h/b"),
        ("http://h/b", "http://h/b"),
    ],
)
def test_secrets_are_replaced(text, shown):
    assert redact(text) == shown


@given(st.integers(1, 200 * 1024**4))
def test_blocks_are_enough(size):
    assert -(-size // block_size(size)) <= BLOCKS_MAX
    assert len(block_id(0)) == len(block_id(BLOCKS_MAX - 1))
