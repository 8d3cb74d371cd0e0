"""Pages of lists, as servers write them and as nobody should."""

from __future__ import annotations

import pytest
from scripted_server import reply, serving

from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError
from lote.blobs.listing import BlobItem, parse_page

PAGE = """<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="http://h/" ContainerName="c"><Prefix>p</Prefix><Blobs>
<Blob><Name>a &amp; b/\u00fc</Name><Properties><Etag>"0x1"</Etag><Content-Length>12</Content-Length>
<Content-Type>x</Content-Type><Content-MD5 /></Properties></Blob>
<Blob><Name Encoded="true">odd%EF%BF%BE%20name</Name><Properties><Content-Length>3</Content-Length>
<Etag>0x2</Etag></Properties></Blob>
<Blob><Name>bare</Name><Properties /></Blob>
</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"""


def test_a_page_is_read() -> None:
    items, marker = parse_page(PAGE.format(marker="next &lt;1").encode())
    assert items == [
        BlobItem("a & b/\u00fc", 12, "0x1"),
        BlobItem("odd\ufffe name", 3, "0x2"),
        BlobItem("bare", 0, ""),
    ]
    assert marker == "next <1"


@pytest.mark.parametrize(
    "page", ["<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>", "<Other/>"]
)
def test_a_page_may_be_empty(page: str) -> None:
    assert parse_page(page.encode()) == ([], "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><br></html>",
        b"<EnumerationResults><Blobs>",
        b"<E><Blob><Name>x</Name><Properties><Content-Length>many</Content-Length></Properties>"
        b"</Blob></E>",
    ],
)
def test_what_is_no_list_says_so(body: bytes) -> None:
    client = BlobClient(attempts_max=1)
    with serving(lambda h: reply(h, 200, body)) as server, pytest.raises(BlobError) as failed:
        list(client.list_blobs(f"{server.url}/c?sig=TOPSECRET"))
    assert failed.value.kind == "misc"
    assert "TOPSECRET" not in str(failed.value)
    client.close()
