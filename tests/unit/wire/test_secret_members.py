"""What must never be shown is taken out, and nothing else is."""

from __future__ import annotations

import msgspec

from lote.wire.decode import decode
from lote.wire.pool import PoolCreate
from lote.wire.secret_members import SECRETS, without_secrets
from lote.wire.task import TaskCreate

POOL = b"""{"id":"p","vmSize":"small","userAccounts":[{"name":"u","password":"hunter2",
"linuxUserConfiguration":{"uid":5,"gid":5,"sshPrivateKey":"hunter2"}}],
"startTask":{"commandLine":"x","containerSettings":{"imageName":"i","registry":{"username":"u",
"password":"hunter2"}}},"mountConfiguration":[{"azureBlobFileSystemConfiguration":{"accountName":"a",
"containerName":"c","accountKey":"hunter2","sasKey":"hunter2","relativeMountPath":"m"}},
{"cifsMountConfiguration":{"username":"u","source":"s","relativeMountPath":"m",
"password":"hunter2"}},{"azureFileShareConfiguration":{"accountName":"a","accountKey":"hunter2",
"azureFileUrl":"https://h","relativeMountPath":"m"}}],"virtualMachineConfiguration":{
"nodeAgentSKUId":"a","imageReference":{},"extensions":[{"name":"n","publisher":"p","type":"t",
"settings":{"a":1},"protectedSettings":{"b":"hunter2"}}]}}"""


def test_a_pool_is_shown_without_its_secrets():
    pool = decode(POOL, PoolCreate)
    shown = msgspec.json.encode(without_secrets(pool))
    assert b"hunter2" not in shown
    assert b'"name":"u"' in shown
    assert b'"settings":{"a":1}' in shown
    assert msgspec.json.encode(pool).count(b"hunter2") == 8  # the given one keeps them


def test_what_has_no_secrets_is_itself():
    task = decode(
        b'{"id":"t","commandLine":"x","resourceFiles":[{"httpUrl":"http://h/b?sig=1",'
        b'"filePath":"b"}]}',
        TaskCreate,
    )
    assert without_secrets(task) is task


def test_every_secret_is_a_member_that_may_be_absent():
    for struct, names in SECRETS.items():
        fields = {field.name: field for field in msgspec.structs.fields(struct)}
        assert all(not fields[name].required for name in names)
