"""The client: targets, pages, refusals, a service that is busy, away or back."""

from __future__ import annotations

import http.client

import pytest
from scripted import ScriptedClient, ok, refused

from lote.cli.client import Account, Answer, BatchClient, BatchError, Unreachable, retry_after_s
from lote.world import World


def test_path_prefix_and_ids_are_encoded():
    client = ScriptedClient(lambda _: ok({"id": "j"}))
    assert client.get("get_job", {"job_id": "a/b c"}, {"$select": "id"}) == {"id": "j"}
    assert client.asked[0].path == "/prefix/jobs/a%2Fb%20c"
    assert "api-version=2024-07-01.20.0" in client.asked[0].query
    assert "%24select=id" in client.asked[0].query


def test_range_of_a_file_is_asked_for():
    client = ScriptedClient(lambda _: ok())
    ids = {"job_id": "j", "task_id": "t", "file_path": "wd/x y"}
    client.call("download_task_file", ids, byte_range=(5, 9))
    assert client.asked[0].headers == {"ocp-range": "bytes=5-9"}
    assert client.asked[0].path.endswith("/files/wd%2Fx%20y")


def test_all_pages_are_followed():
    def script(request):
        if "skiptoken" in request.query:
            return ok({"value": [{"id": "c"}]})
        link = "http://else/prefix/pools?api-version=1&%24skiptoken=x"
        return ok({"value": [{"id": "a"}, {"id": "b"}], "odata.nextLink": link})

    client = ScriptedClient(script)
    assert [p["id"] for p in client.each("list_pools")] == ["a", "b", "c"]
    assert client.asked[1].path == "/prefix/pools"


def test_refusal_has_code_and_details():
    client = ScriptedClient(lambda _: refused(400, "InvalidValue", "Bad.", PropertyName="id"))
    with pytest.raises(BatchError) as caught:
        client.call("create_pool", body={})
    assert (caught.value.status, caught.value.code) == (400, "InvalidValue")
    assert str(caught.value) == "InvalidValue: Bad. (PropertyName: id)"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"code":"A","message":7}'])
def test_refusal_in_another_shape_is_still_told(body):
    client = ScriptedClient(lambda _: Answer(502, {}, body))
    with pytest.raises(BatchError) as caught:
        client.call("list_pools")
    assert caught.value.status == 502


def test_other_success_than_the_tables_is_refused():
    client = ScriptedClient(lambda _: ok({}, 206))
    with pytest.raises(BatchError):
        client.call("list_pools")


def test_busy_service_is_asked_again():
    answers = [Answer(503, {"retry-after": "0"}, b""), ok({"value": []})]
    client = ScriptedClient(lambda _: answers.pop(0))
    assert list(client.each("list_pools")) == []


def test_service_that_stays_busy_is_a_refusal():
    client = ScriptedClient(lambda _: Answer(503, {"retry-after": "0"}, b""))
    with pytest.raises(BatchError):
        client.call("list_pools")
    assert len(client.asked) == 5


@pytest.mark.parametrize(("told", "waits_s"), [({}, 1), ({"retry-after": "3"}, 3)])
def test_retry_after(told, waits_s):
    assert retry_after_s(told) == waits_s
    assert retry_after_s({"retry-after": "Fri, 20 Nov 2026 04:57:55 GMT"}) == 1
    assert retry_after_s({"retry-after": "3600"}) == 10


class Dropping(ScriptedClient):
    """A kept connection that has died."""

    def __init__(self) -> None:
        super().__init__(lambda _: ok({"value": []}))
        self._connection = http.client.HTTPConnection("127.0.0.1")
        self.drops = 1

    def _send(self, *words):
        if self.drops:
            self.drops -= 1
            self.close()
            raise http.client.RemoteDisconnected("gone")
        return super()._send(*words)


def test_dead_kept_connection_is_replaced_for_what_may_be_sent_twice():
    client = Dropping()
    client.call("list_pools")
    assert client.lines == ["GET /pools"]


def test_post_is_never_sent_twice():
    with pytest.raises(Unreachable):
        Dropping().call("create_pool", body={})


def test_nobody_there():
    client = BatchClient(Account("a", "a2V5", "http://127.0.0.1:1"), World())
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        client.call("list_pools")


def test_endpoint_must_be_a_url():
    with pytest.raises(ValueError, match="endpoint"):
        BatchClient(Account("a", "a2V5", "127.0.0.1:80"), World())


def test_key_is_not_shown():
    assert "a2V5" not in repr(Account("a", "a2V5", "http://x"))
