"""`az batch`: its whole data plane, each command in one interpreter as the `az` program runs it."""

from __future__ import annotations

from az_calls import (
    FOLDER,
    JOB,
    LATER,
    LONG_AGO,
    MET,
    POOL,
    SCHEDULE,
    az,
    conditional,
    file_of,
    ids,
    ledger,
    offered,
    refused,
)
from az_pools import account, first_node, nodes, pools
from ledger import equal, until


def main() -> None:
    for step in (account, pools, nodes, jobs, tasks, files, schedules, endings):
        with ledger.of(step.__name__):
            step()
    ledger.print(offered())


def jobs() -> None:
    with ledger.of("job create"):
        az(
            "job create", "--id", JOB, "--pool-id", POOL, "--priority", "5",
            "--max-parallel-tasks", "3", "--uses-task-dependencies",
            "--job-max-wall-clock-time", "PT1H", "--job-max-task-retry-count", "2",
            "--metadata", "team=red", "--allow-task-preemption",
        )  # fmt: skip
        body = {"id": f"{JOB}-2", "poolInfo": {"poolId": "none"}, "onAllTasksComplete": "noaction"}
        az("job create", "--json-file", file_of("job", body))
    with ledger.of("job show"):
        found = az("job show", "--job-id", JOB)
        equal((found["id"], found["priority"], found["state"]), (JOB, 5, "active"))
        equal(found["poolInfo"]["poolId"], POOL)
        equal(found["constraints"], {"maxTaskRetryCount": 2, "maxWallClockTime": "PT1H"})
        equal(found["usesTaskDependencies"], True)
        part = conditional(
            "job show", found["eTag"], "--job-id", JOB, "--select", "id", "--expand", "stats"
        )
        equal(part["id"], JOB)
    with ledger.of("job list"):
        equal(
            ids(
                az(
                    "job list",
                    "--filter",
                    f"startswith(id,'{JOB}')",
                    "--select",
                    "id",
                    "--expand",
                    "stats",
                )
            ),
            [JOB, f"{JOB}-2"],
        )
    with ledger.of("job set"):
        etag = az("job show", "--job-id", JOB)["eTag"]
        conditional(
            "job set",
            etag,
            "--job-id",
            JOB,
            "--priority",
            "6",
            "--max-parallel-tasks",
            "4",
            "--metadata",
            "a=b",
        )
        found = az("job show", "--job-id", JOB)
        equal((found["priority"], found["maxParallelTasks"]), (6, 4))
        equal(found["metadata"], [{"name": "a", "value": "b"}])
    with ledger.of("job reset"):
        etag = az("job show", "--job-id", JOB)["eTag"]
        conditional("job reset", etag, "--job-id", JOB, "--pool-id", POOL, "--priority", "7")
        found = az("job show", "--job-id", JOB)
        equal((found["priority"], found["maxParallelTasks"]), (7, -1))
    with ledger.of("job disable", "job enable"):
        etag = az("job show", "--job-id", JOB)["eTag"]
        conditional("job disable", etag, "--job-id", JOB, "--disable-tasks", "requeue")
        until(lambda: az("job show", "--job-id", JOB)["state"] == "disabled")
        conditional("job enable", az("job show", "--job-id", JOB)["eTag"], "--job-id", JOB)
        until(lambda: az("job show", "--job-id", JOB)["state"] == "active")
    with ledger.of("job prep-release-status list"):
        refused(
            "JobPreparationTaskNotSpecified",
            "job prep-release-status list",
            "--job-id",
            JOB,
            "--filter",
            "nodeId eq 'n'",
            "--select",
            "nodeId",
        )


def tasks() -> None:
    here = ("--job-id", JOB)
    with ledger.of("task create"):
        found = az(
            "task create",
            *here,
            "--task-id",
            "t",
            "--command-line",
            "/bin/sh -c 'echo $N; mkdir d; printf 0123456789 > d/f.txt'",
            "--environment-settings",
            "N=v",
            "--max-wall-clock-time",
            "PT5M",
            "--retention-time",
            "PT1H",
            "--max-task-retry-count",
            "1",
        )
        equal((found["id"], found["environmentSettings"]), ("t", [{"name": "N", "value": "v"}]))
        many = [{"id": f"m{number}", "commandLine": "/bin/true"} for number in range(150)]
        found = az("task create", *here, "--json-file", file_of("tasks", many))
        equal({one["taskId"] for one in found}, {one["id"] for one in many})
        equal({one["status"] for one in found}, {"success"})
    with ledger.of("task list"):
        found = az(
            "task list",
            *here,
            "--filter",
            "startswith(id,'m')",
            "--select",
            "id,state",
            "--expand",
            "stats",
        )
        equal(len(found), 150)
    with ledger.of("task show"):
        until(lambda: az("task show", *here, "--task-id", "t")["state"] == "completed")
        found = az("task show", *here, "--task-id", "t")
        equal(
            (found["executionInfo"]["exitCode"], found["executionInfo"]["result"]), (0, "success")
        )
        equal(found["constraints"]["retentionTime"], "PT1H")
        part = conditional(
            "task show",
            found["eTag"],
            *here,
            "--task-id",
            "t",
            "--select",
            "id",
            "--expand",
            "stats",
        )
        equal(part["id"], "t")
    with ledger.of("job task-counts show"):
        until(lambda: az("job task-counts show", *here)["taskCounts"]["completed"] == 151)
        found = az("job task-counts show", *here)
        equal(found["taskCounts"]["succeeded"], 151)
        equal(found["taskSlotCounts"]["active"], 0)
    waiting = ("--job-id", f"{JOB}-2", "--task-id", "w")
    with ledger.of("task reset"):
        az("task create", *waiting, "--command-line", "x")
        # Of the ETags, this command of az sends none.
        refused("ConditionNotMet", "task reset", *waiting, "--if-unmodified-since", LONG_AGO)
        az(
            "task reset",
            *waiting,
            *MET,
            "--max-task-retry-count",
            "3",
            "--retention-time",
            "PT2H",
            "--max-wall-clock-time",
            "PT1H",
        )
        found = az("task show", *waiting)
        equal(
            found["constraints"],
            {"maxTaskRetryCount": 3, "maxWallClockTime": "PT1H", "retentionTime": "PT2H"},
        )
    with ledger.of("task stop", "task reactivate"):
        conditional("task stop", az("task show", *waiting)["eTag"], *waiting)
        equal(az("task show", *waiting)["state"], "completed")
        conditional("task reactivate", az("task show", *waiting)["eTag"], *waiting)
        equal(az("task show", *waiting)["state"], "active")
    with ledger.of("task subtask list"):
        found = az("task subtask list", *waiting, "--select", "id")
        equal(found if isinstance(found, list) else found.get("value", []), [])
    with ledger.of("task delete"):
        conditional("task delete", az("task show", *waiting)["eTag"], *waiting, "--yes")
        refused("TaskNotFound", "task show", *waiting)


def files() -> None:
    here = ("--job-id", JOB, "--task-id", "t")
    with ledger.of("task show"):
        task = az("task show", *here)["nodeInfo"]
        there = ("--pool-id", POOL, "--node-id", task["nodeId"])
        root = task["taskRootDirectory"]
    for group, where, prefix in (("task file", here, ""), ("node file", there, f"{root}/")):
        name = f"{prefix}wd/d/f.txt"
        with ledger.of(f"{group} list"):
            found = az(
                f"{group} list",
                *where,
                "--recursive",
                "--filter",
                f"startswith(name,'{prefix}wd/d/')",
            )
            equal([one["name"] for one in found], [name])
            equal(int(found[0]["properties"]["contentLength"]), 10)
        with ledger.of(f"{group} show"):
            # az 2.91 gets the answer and fails over printing it; a refusal it does print.
            refused("has no attribute 'items'", f"{group} show", *where, "--file-path", name, *MET)
            refused("Not Found", f"{group} show", *where, "--file-path", f"{prefix}none.txt")
        with ledger.of(f"{group} download"):
            target = FOLDER / f"{group}.txt"
            az(f"{group} download", *where, "--file-path", name, "--destination", str(target), *MET)
            equal(target.read_text(), "0123456789")
            target.unlink()
            az(
                f"{group} download",
                *where,
                "--file-path",
                name,
                "--destination",
                str(target),
                "--start-range",
                "2",
                "--end-range",
                "5",
            )
            equal(target.read_text(), "2345")
    with ledger.of("task file delete"):
        az("task file delete", *here, "--file-path", "wd/d", "--recursive", "true", "--yes")
        equal(az("task file list", *here, "--recursive", "--filter", "startswith(name,'wd/d')"), [])
    with ledger.of("node file delete"):
        az("node file delete", *there, "--file-path", f"{root}/stdout.txt", "--yes")
        equal(
            az(
                "node file list",
                *there,
                "--recursive",
                "--filter",
                f"startswith(name,'{root}/stdout')",
            ),
            [],
        )


def schedules() -> None:
    here = ("--job-schedule-id", SCHEDULE)
    with ledger.of("job-schedule create"):
        az(
            "job-schedule create", "--id", SCHEDULE, "--pool-id", "none", "--priority", "4",
            "--do-not-run-after", LATER, "--start-window", "PT5M", "--recurrence-interval", "PT1H",
            "--metadata", "a=b", "--job-metadata", "c=d", "--job-max-task-retry-count", "1",
            "--max-parallel-tasks", "2",
        )  # fmt: skip
    with ledger.of("job-schedule show"):
        found = az("job-schedule show", *here)
        equal((found["id"], found["state"]), (SCHEDULE, "active"))
        equal(found["schedule"]["recurrenceInterval"], "PT1H")
        equal(found["jobSpecification"]["priority"], 4)
        part = conditional(
            "job-schedule show", found["eTag"], *here, "--select", "id", "--expand", "stats"
        )
        equal(part["id"], SCHEDULE)
    with ledger.of("job-schedule list", "job list"):
        equal(
            ids(
                az(
                    "job-schedule list",
                    "--filter",
                    f"id eq '{SCHEDULE}'",
                    "--select",
                    "id",
                    "--expand",
                    "stats",
                )
            ),
            [SCHEDULE],
        )
        equal(ids(az("job list", *here)), [f"{SCHEDULE}:job-1"])
    with ledger.of("job-schedule set"):
        etag = az("job-schedule show", *here)["eTag"]
        conditional(
            "job-schedule set", etag, *here, "--recurrence-interval", "PT2H", "--metadata", "e=f"
        )
        found = az("job-schedule show", *here)
        equal(found["schedule"]["recurrenceInterval"], "PT2H")
        equal(found["metadata"], [{"name": "e", "value": "f"}])
    with ledger.of("job-schedule reset"):
        etag = az("job-schedule show", *here)["eTag"]
        conditional(
            "job-schedule reset",
            etag,
            *here,
            "--pool-id",
            "none",
            "--recurrence-interval",
            "PT3H",
            "--priority",
            "9",
        )
        found = az("job-schedule show", *here)
        equal(found["jobSpecification"]["priority"], 9)
    with ledger.of("job-schedule disable", "job-schedule enable"):
        conditional("job-schedule disable", az("job-schedule show", *here)["eTag"], *here)
        equal(az("job-schedule show", *here)["state"], "disabled")
        conditional("job-schedule enable", az("job-schedule show", *here)["eTag"], *here)
        equal(az("job-schedule show", *here)["state"], "active")
    with ledger.of("job-schedule stop"):
        conditional("job-schedule stop", az("job-schedule show", *here)["eTag"], *here)
        until(lambda: az("job-schedule show", *here)["state"] == "completed")
    with ledger.of("job-schedule delete"):
        conditional("job-schedule delete", az("job-schedule show", *here)["eTag"], *here, "--yes")


def endings() -> None:
    with ledger.of("job stop"):
        etag = az("job show", "--job-id", JOB)["eTag"]
        conditional("job stop", etag, "--job-id", JOB, "--terminate-reason", "enough")
        found = until(
            lambda: (
                one if (one := az("job show", "--job-id", JOB))["state"] == "completed" else None
            )
        )
        equal(found["executionInfo"]["terminateReason"], "enough")
    with ledger.of("job delete"):
        conditional("job delete", az("job show", "--job-id", JOB)["eTag"], "--job-id", JOB, "--yes")
        az("job delete", "--job-id", f"{JOB}-2", "--yes")
        refused("JobNotFound", "job delete", "--job-id", "none", "--yes")
    with ledger.of("node delete"):
        node = first_node()
        etag = az("pool show", "--pool-id", POOL)["eTag"]
        conditional(
            "node delete",
            etag,
            "--pool-id",
            POOL,
            "--node-list",
            node,
            "--node-deallocation-option",
            "requeue",
            "--resize-timeout",
            "PT5M",
        )
        until(lambda: az("pool show", "--pool-id", POOL)["currentDedicatedNodes"] == 1)
        assert node not in ids(az("node list", "--pool-id", POOL)), node
    with ledger.of("pool delete"):
        conditional(
            "pool delete", az("pool show", "--pool-id", POOL)["eTag"], "--pool-id", POOL, "--yes"
        )
        az("pool delete", "--pool-id", f"{POOL}-2", "--yes")
        refused("PoolNotFound", "pool delete", "--pool-id", "none", "--yes")


main()
