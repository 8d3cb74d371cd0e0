"""Users of nodes, remote login, extensions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from .conftest import fresh
from .raw_http import check_error
from .success import check_headers

OLD_VERSION = "2024-02-01.19.0"
SECRET = "s3cret-Pass!"


@pytest.fixture
def node_id(batch, pool) -> str:
    return next(iter(batch.list_nodes(pool))).id


def test_a_user_is_made_replaced_and_deleted(batch, raw, pool, node_id):
    name = fresh("u")
    expiry = datetime.now(UTC) + timedelta(hours=2)
    user = m.BatchNodeUserCreateOptions(
        name=name, is_admin=True, password=SECRET, expiry_time=expiry
    )
    batch.create_node_user(pool, node_id, user)
    with pytest.raises(HttpResponseError) as caught:
        batch.create_node_user(pool, node_id, m.BatchNodeUserCreateOptions(name=name.upper()))
    assert (caught.value.status_code, caught.value.error.code) == (409, "NodeUserExists")
    batch.replace_node_user(
        pool, node_id, name, m.BatchNodeUserReplaceOptions(ssh_public_key="ssh-rsa AAAA x")
    )
    batch.delete_node_user(pool, node_id, name)
    path = f"/pools/{pool}/nodes/{node_id}/users/{name}"
    check_error(raw("DELETE", path), 404, "NodeUserNotFound")
    with pytest.raises(ResourceNotFoundError) as gone:
        batch.replace_node_user(pool, node_id, name, m.BatchNodeUserReplaceOptions(password="x"))
    assert gone.value.error.code == "NodeUserNotFound"


def test_a_users_location_and_status(raw, pool, node_id):
    name = fresh("u")
    path = f"/pools/{pool}/nodes/{node_id}/users"
    made = raw("POST", path, {"name": name, "password": SECRET})
    assert made.status == 201
    assert made.body == b""
    address = f"{raw.endpoint}{path}/{name}"
    check_headers(made, service_id=address, location=address)
    replaced = raw("PUT", f"{path}/{name}", {"password": SECRET})
    assert replaced.status == 200
    check_headers(replaced, service_id=address)


@pytest.mark.parametrize("name", ["名前", "a b/c?", "ü"])
def test_a_user_of_any_name(raw, pool, node_id, name):
    path = f"/pools/{pool}/nodes/{node_id}/users"
    made = raw("POST", path, {"name": name, "password": SECRET})
    assert made.status == 201
    address = f"{path}/{quote(name, safe='')}"
    check_headers(made, service_id=raw.endpoint + address, location=raw.endpoint + address)
    assert raw("PUT", address, {"password": SECRET}).status == 200
    assert raw("DELETE", address).status == 200
    check_error(raw("DELETE", address), 404, "NodeUserNotFound")


@pytest.mark.parametrize(
    ("body", "code", "prop"),
    [
        ({"password": "x"}, "MissingRequiredProperty", "name"),
        ({"name": ""}, "InvalidPropertyValue", "name"),
        ({"name": "n" * 21}, "InvalidPropertyValue", "name"),
        ({"name": "n", "expiryTime": "tomorrow"}, "InvalidPropertyValue", "expiryTime"),
        ({"name": "n", "expiryTime": "2001-01-01T00:00:00Z"}, "InvalidPropertyValue", "expiryTime"),
        ({"name": "n", "isAdmin": "perhaps"}, "InvalidPropertyValue", "isAdmin"),
    ],
)
def test_wrong_users(raw, pool, node_id, body, code, prop):
    body = {"password": SECRET} | body
    reply = check_error(raw("POST", f"/pools/{pool}/nodes/{node_id}/users", body), 400, code)
    assert reply.values["PropertyName"] == prop
    assert SECRET not in reply.body.decode()


@pytest.mark.parametrize("rest", ["/users", "/remoteloginsettings", "/extensions", "/rdp"])
def test_no_such_node(raw, pool, rest):
    method, body = ("POST", {"name": "n"}) if rest == "/users" else ("GET", None)
    version = OLD_VERSION
    missing = raw(method, f"/pools/{pool}/nodes/none{rest}", body, version=version)
    check_error(missing, 404, "NodeNotFound")
    missing = raw(method, f"/pools/none/nodes/none{rest}", body, version=version)
    check_error(missing, 404, "PoolNotFound")


def test_where_to_log_in(batch, raw, pool, node_id):
    settings = batch.get_node_remote_login_settings(pool, node_id)
    node = batch.get_node(pool, node_id)
    assert settings.remote_login_ip_address == node.ip_address
    assert settings.remote_login_port == 22
    reply = raw("GET", f"/pools/{pool}/nodes/{node_id}/remoteloginsettings")
    check_headers(reply)


def test_a_remote_desktop_file_for_older_clients(batch, raw, pool, node_id):
    """get_remote_desktop."""
    reply = raw("GET", f"/pools/{pool}/nodes/{node_id}/rdp", version=OLD_VERSION)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    address = batch.get_node(pool, node_id).ip_address
    assert reply.body == f"full address:s:{address}\r\n".encode()


def test_no_node_has_an_extension(batch, pool, node_id):
    assert list(batch.list_node_extensions(pool, node_id)) == []
    with pytest.raises(ResourceNotFoundError):
        batch.get_node_extension(pool, node_id, "any")
