"""What is stored for use and never shown: keys, passwords, signatures."""

from __future__ import annotations

import msgspec
import pytest
from bench import a_job, a_pool, a_task

SECRET = "hush5hush"
SIGNED = f"https://a.blob.test/c/x?se=2030-01-01&sig={SECRET}&sp=r"
SHOWN = "https://a.blob.test/c/x?se=2030-01-01&sig=REDACTED&sp=r"
FILES = [{"httpUrl": SIGNED, "filePath": "x"}]
OUTPUTS = [
    {
        "filePattern": "*",
        "destination": {"container": {"containerUrl": SIGNED}},
        "uploadOptions": {"uploadCondition": "taskCompletion"},
    }
]
START = {"commandLine": "true", "resourceFiles": FILES, "waitForSuccess": True}
POOL = {
    "startTask": START,
    "userAccounts": [
        {"name": "u", "password": SECRET, "linuxUserConfiguration": {"sshPrivateKey": SECRET}}
    ],
    "mountConfiguration": [
        {
            "azureBlobFileSystemConfiguration": {
                "accountName": "a",
                "containerName": "c",
                "relativeMountPath": "m",
                "accountKey": SECRET,
            }
        }
    ],
}


def everything_shown(bench, job_id="j"):
    """Every answer that could show a secret of what there is, as text."""
    answers = [
        bench.ask("list_pools"),
        bench.pool(),
        bench.ask("list_nodes", pool_id="p"),
        *(bench.ask("get_node", pool_id="p", node_id=node["id"]) for node in bench.nodes()),
        bench.ask("list_jobs"),
        bench.job(job_id),
        bench.tasks(job_id),
        bench.task("t", job_id),
    ]
    return msgspec.json.encode(answers).decode()


def test_no_answer_shows_a_secret(bench):
    bench.add_pool(**POOL)
    environment = [{"name": "URL", "value": SIGNED}]
    bench.add_job(commonEnvironmentSettings=environment, metadata=[{"name": "n", "value": SIGNED}])
    bench.add_task("t", seconds=0, resourceFiles=FILES, outputFiles=OUTPUTS)
    shown = everything_shown(bench)
    assert SECRET not in shown
    assert bench.pool()["startTask"]["resourceFiles"][0]["httpUrl"] == SHOWN
    assert bench.job()["commonEnvironmentSettings"] == [{"name": "URL", "value": SHOWN}]
    task = bench.task("t")
    assert task["resourceFiles"][0]["httpUrl"] == SHOWN
    assert task["outputFiles"][0]["destination"]["container"]["containerUrl"] == SHOWN
    assert bench.pool()["userAccounts"][0]["name"] == "u"


def test_agents_get_what_is_not_shown(make_bench):
    from lote.engines.script import Script, outcome_of_command

    seen = []

    def start(task, retries):
        seen.append(task)
        return outcome_of_command(task, retries)

    bench = make_bench(Script(start_outcome=start))
    bench.add_pool(**POOL)
    (row,) = bench.reader.execute("SELECT spec FROM pool").fetchone()
    assert SECRET.encode() in row
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [(b"sig=", rb"sig\u003d"), (b"sig=", rb"\u0073ig="), (b"&sig", rb"\u0026sig")],
)
def test_escaped_letters_hide_no_signature(bench, plain, escaped):
    """A task's bytes are kept as its client spelled them."""
    bench.add_job()
    body = {"value": [a_task("t", resourceFiles=FILES)]}
    request = bench.request("create_task_collection", body, job_id="j")
    raw = request.raw_body.replace(plain, escaped)
    assert raw != request.raw_body
    request.raw_body = raw
    from lote.server.handlers import task as handlers

    request.body = handlers.decode_collection(request)
    bench.owner.call(handlers.create_task_collection, request)
    shown = msgspec.json.encode(bench.task("t")).decode()
    assert SECRET not in shown
    assert bench.task("t")["resourceFiles"][0]["httpUrl"] == SHOWN


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("create_pool", a_pool("q", **(POOL | {"vmSize": 5, "taskSlotsPerNode": 999}))),
        ("create_pool", a_pool("q", userAccounts=[{"name": "", "password": SECRET}])),
        ("create_job", a_job("k", metadata=[{"name": SIGNED, "value": ""}], priority=9999)),
        ("create_task", a_task("t", resourceFiles=[{"httpUrl": SIGNED}])),
        ("create_task", a_task("t", resourceFiles=[{"httpUrl": SIGNED, "filePath": "../x"}])),
    ],
)
def test_no_refusal_shows_a_secret(bench, name, body):
    from lote.wire.errors import Refused, error_object

    bench.add_job()
    with pytest.raises(Refused) as caught:
        bench.ask(name, body, job_id="j")
    assert SECRET not in str(caught.value)
    assert SECRET not in msgspec.json.encode(error_object(caught.value)).decode()


def test_nothing_is_logged_of_secrets(bench, caplog):
    caplog.set_level(0)
    bench.add_pool(**POOL)
    bench.add_job()
    bench.add_task("t", seconds=0, resourceFiles=FILES)
    with pytest.raises(ZeroDivisionError):
        bench.owner.call(lambda tx: 1 // 0)
    assert "transaction_failed" in caplog.text
    assert SECRET not in caplog.text
    for node in bench.engine._nodes.values():
        assert node.order.secret not in caplog.text


def test_selected_members_alone_are_shown(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t")
    shown = bench.ask("get_task", job_id="j", task_id="t", query={"select": "id,state"})
    assert set(shown) == {"odata.metadata", "id", "state"}
    listed = bench.ask("list_nodes", pool_id="p", query={"select": "state"})["value"]
    assert listed == [{"state": "running"}]
    assert bench.refusal("get_job", job_id="j", query={"select": "nonsense"}) == (
        "InvalidQueryParameterValue"
    )


def test_defaults_are_shown_where_nothing_was_given(bench):
    bench.add_job()
    shown = bench.job()
    assert (shown["priority"], shown["maxParallelTasks"], shown["usesTaskDependencies"]) == (
        0,
        -1,
        False,
    )
    assert shown["onAllTasksComplete"] == shown["onTaskFailure"] == "noaction"
    assert shown["constraints"]["maxTaskRetryCount"] == 0
    bench.add_task("t")
    task = bench.task("t")
    assert task["constraints"]["retentionTime"] == "P7D"
    assert task["userIdentity"] == {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    assert "nodeInfo" not in task
