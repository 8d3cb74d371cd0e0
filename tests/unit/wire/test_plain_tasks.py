"""What the quick look at a group takes for plain passes the thorough look at each task."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.check_tasks import check_task
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.plain_tasks import are_plain
from lote.wire.task import TaskCreate, TaskGroup

TASK = {"id": "t", "commandLine": "/bin/true"}
FILE = {"httpUrl": "http://127.0.0.1:10000/account/c/b.txt?sig=a%2Fb", "filePath": "in/b.txt"}

OUTPUT = {
    "filePattern": "*.txt",
    "destination": {"container": {"containerUrl": "https://h/c"}},
    "uploadOptions": {"uploadCondition": "tasksuccess"},
}


def look(*tasks: dict[str, Any], **options: Any) -> bool:
    body = json.dumps({"value": list(tasks)}, **options).encode()
    return are_plain(decode(body, TaskGroup).value, body)


PLAIN = [
    {},
    {"commandLine": '/bin/sh -c "echo a\\nb"', "displayName": "x" * 1024},
    {"environmentSettings": [{"name": "A", "value": "a=b"}, {"name": "B"}]},
    {"environmentSettings": [], "resourceFiles": []},
    {"resourceFiles": [FILE, FILE]},
    {"resourceFiles": [FILE, FILE | {"httpUrl": "https://other:8/x"}]},
    {"outputFiles": [OUTPUT], "exitConditions": {"default": {}}, "dependsOn": {"taskIds": ["a"]}},
    {"userIdentity": {"autoUser": {"elevationLevel": "admin"}}},
    {"requiredSlots": 256, "constraints": {"maxTaskRetryCount": -1, "retentionTime": "P1D"}},
]
NOT_PLAIN = [
    {"resourceFiles": [FILE | {"httpUrl": FILE["httpUrl"] + "\t"}]},
    {"resourceFiles": [FILE | {"httpUrl": FILE["httpUrl"] + "\n" + FILE["httpUrl"]}]},
    {"resourceFiles": [FILE | {"httpUrl": FILE["httpUrl"] + " "}]},
    {"id": ""},
    {"id": "a b"},
    {"id": "a\n"},
    {"id": "a\nb"},
    {"id": "x" * 65},
    {"commandLine": ""},
    {"commandLine": " "},
    {"commandLine": "a\0b"},
    {"displayName": "x" * 1025},
    {"requiredSlots": 0},
    {"requiredSlots": 257},
    {"environmentSettings": [{"name": ""}]},
    {"environmentSettings": [{"name": "A=B"}]},
    {"environmentSettings": [{"name": "A", "value": "\0"}]},
    {"constraints": {"maxTaskRetryCount": -2}},
    {"constraints": {"maxWallClockTime": "soon"}},
    *({"resourceFiles": [FILE, FILE | {"httpUrl": url}]} for url in (
        "", "h", "ftp://h/b", "http:///b", "http://u@h/b", "http://h/a b", "http://h/a\tb",
        "http://h/a\nhttp://h/b", "http://h/\u2003", "http:// h/b", None,
    )),
    *({"resourceFiles": [FILE, FILE | {"filePath": path}]} for path in (
        "", "/a", "../a", "a/..", "C:a", "\\a", "a\nb", None,
    )),
    {"resourceFiles": [{"autoStorageContainerName": "c"}]},
    {"resourceFiles": [FILE | {"fileMode": "0999"}]},
    {"outputFiles": [OUTPUT, OUTPUT | {"filePattern": "/etc/x"}]},
    {"dependsOn": {"taskIdRanges": [{"start": 2, "end": 1}]}},
    {"exitConditions": {"exitCodeRanges": [{"start": 2, "end": 1, "exitOptions": {}}]}},
    {"applicationPackageReferences": []},
    {"containerSettings": {"imageName": ""}},
    {"multiInstanceSettings": {"coordinationCommandLine": ""}},
    {"userIdentity": {}},
]  # fmt: skip


@pytest.mark.parametrize("members", PLAIN)
def test_plain(members):
    assert look(TASK, TASK | members)
    check_task(decode(json.dumps(TASK | members).encode(), TaskCreate))


@pytest.mark.parametrize("members", NOT_PLAIN)
def test_not_plain(members):
    assert not look(TASK, TASK | members)
    assert not look(TASK | members, TASK)
    assert not look(TASK, TASK | members, ensure_ascii=False)


def test_no_tasks_are_not_plain():
    assert not look()


texts = st.text(max_size=6) | st.sampled_from(
    ["a", "a/b", "http://h/b", "https://h:1/x?y#z", "..", "\0", " ", "\n", "A=B", "x" * 64, "P1D"]
)
files = st.fixed_dictionaries(
    {}, optional={"httpUrl": texts, "filePath": texts, "fileMode": texts, "blobPrefix": texts}
)
variables = st.fixed_dictionaries({"name": texts}, optional={"value": texts})
tasks = st.fixed_dictionaries(
    {"id": texts, "commandLine": texts},
    optional={
        "displayName": texts,
        "requiredSlots": st.integers(-2, 300),
        "resourceFiles": st.lists(files, max_size=2),
        "environmentSettings": st.lists(variables, max_size=2),
        "constraints": st.fixed_dictionaries(
            {}, optional={"retentionTime": texts, "maxTaskRetryCount": st.integers(-3, 3)}
        ),
    },
)


@given(st.lists(tasks, min_size=1, max_size=4), st.booleans())
def test_what_is_plain_passes(several: list[dict[str, Any]], ascii_only: bool):
    try:
        body = json.dumps({"value": several}, ensure_ascii=ascii_only).encode()
        group = decode(body, TaskGroup).value
    except (Refused, UnicodeEncodeError):
        return
    if are_plain(group, body):
        for task in group:
            check_task(task)
