"""The account, pools and nodes with `az batch`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from az_calls import (
    AGENT,
    IMAGE,
    LATER,
    LOGS_URL,
    LONG_AGO,
    MET,
    POOL,
    AzFailed,
    az,
    conditional,
    file_of,
    ids,
    ledger,
    refused,
)
from ledger import equal, until


def account() -> None:
    with ledger.of("application summary list"):
        equal(az("application summary list"), [])
    with ledger.of("application summary show"):
        refused("ApplicationNotFound", "application summary show", "--application-id", "blender")
    with ledger.of("pool supported-images list"):
        found = az("pool supported-images list", "--filter", "osType eq 'linux'")
        assert AGENT in {one["nodeAgentSkuId"] for one in found}, found[0]
        equal({one["osType"] for one in found}, {"linux"})


def pools() -> None:
    with ledger.of("pool create"):
        az(
            "pool create", "--id", POOL, "--vm-size", "standard_d2_v2", "--image", IMAGE,
            "--node-agent-sku-id", AGENT, "--target-dedicated-nodes", "2",
            "--target-low-priority-nodes", "0", "--task-slots-per-node", "2",
            "--resize-timeout", "PT10M", "--metadata", "team=red", "x=y",
            "--enable-inter-node-communication",
            "--start-task-command-line", "/bin/true", "--start-task-wait-for-success",
            "--start-task-max-task-retry-count", "1", "--start-task-environment-settings", "N=v",
        )  # fmt: skip
        machine = {
            "nodeAgentSKUId": AGENT,
            "imageReference": dict(
                zip(("publisher", "offer", "sku"), IMAGE.split(":"), strict=False)
            ),
        }
        body = {
            "id": f"{POOL}-2",
            "vmSize": "standard_d2_v2",
            "virtualMachineConfiguration": machine,
        }
        az("pool create", "--json-file", file_of("pool", body))
    with ledger.of("pool show"):
        until(lambda: az("pool show", "--pool-id", POOL)["allocationState"] == "steady")
        found = az("pool show", "--pool-id", POOL)
        equal(found["currentDedicatedNodes"], 2)
        equal(found["taskSlotsPerNode"], 2)
        equal(found["resizeTimeout"], "PT10M")
        equal(found["metadata"], [{"name": "team", "value": "red"}, {"name": "x", "value": "y"}])
        equal(found["startTask"]["environmentSettings"], [{"name": "N", "value": "v"}])
        equal(found["enableInterNodeCommunication"], True)
        part = conditional(
            "pool show",
            found["eTag"],
            "--pool-id",
            POOL,
            "--select",
            "id, state",
            "--expand",
            "stats",
        )
        equal(part["id"], POOL)
        assert "vmSize" not in part or part["vmSize"] is None, part
    with ledger.of("pool list"):
        found = az(
            "pool list",
            "--filter",
            f"startswith(id,'{POOL}')",
            "--select",
            "id,state",
            "--expand",
            "stats",
        )
        equal(ids(found), [POOL, f"{POOL}-2"])
    with ledger.of("pool set"):
        etag = az("pool show", "--pool-id", POOL)["eTag"]
        conditional(
            "pool set", etag, "--pool-id", POOL, "--metadata", "a=b",
            "--start-task-command-line", "/bin/echo", "--start-task-wait-for-success",
            "--start-task-environment-settings", "M=w", "--start-task-max-task-retry-count", "2",
        )  # fmt: skip
        found = az("pool show", "--pool-id", POOL)
        equal(found["metadata"], [{"name": "a", "value": "b"}])
        equal(found["startTask"]["commandLine"], "/bin/echo")
    with ledger.of("pool reset"):
        found = az(
            "pool reset",
            "--pool-id",
            POOL,
            "--metadata",
            "c=d",
            "--start-task-command-line",
            "/bin/true",
            "--start-task-wait-for-success",
        )
        equal(found["metadata"], [{"name": "c", "value": "d"}])
        equal(found["startTask"]["commandLine"], "/bin/true")
    with ledger.of("pool resize"):
        second = f"{POOL}-2"
        etag = az("pool show", "--pool-id", second)["eTag"]
        # Of the ETags, this command of az sends none.
        refused(
            "ConditionNotMet",
            "pool resize",
            "--pool-id",
            second,
            "--target-dedicated-nodes",
            "1",
            "--if-unmodified-since",
            LONG_AGO,
        )
        az(
            "pool resize",
            "--pool-id",
            second,
            "--if-match",
            etag,
            *MET,
            "--target-dedicated-nodes",
            "1",
            "--target-low-priority-nodes",
            "0",
            "--resize-timeout",
            "PT5M",
            "--node-deallocation-option",
            "requeue",
        )
        az("pool resize", "--pool-id", second, "--abort")
        until(lambda: az("pool show", "--pool-id", second)["allocationState"] == "steady")
    with ledger.of("pool node-counts list"):
        (found,) = az("pool node-counts list", "--filter", f"poolId eq '{POOL}'")
        equal((found["poolId"], found["dedicated"]["total"]), (POOL, 2))
    with ledger.of("pool usage-metrics list"):
        since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = az(
            "pool usage-metrics list", "--start-time", since, "--filter", f"poolId eq '{POOL}'"
        )
        equal({one["poolId"] for one in found}, {POOL})
        assert all(one["totalCoreHours"] > 0 for one in found), found
    formulas()


def formulas() -> None:
    """Accepted, or refused as not carried out yet by a service that says so."""
    second, formula = f"{POOL}-2", "$TargetDedicatedNodes = 0;"
    with ledger.of("pool autoscale enable", "pool autoscale evaluate", "pool autoscale disable"):
        try:
            az(
                "pool autoscale enable",
                "--pool-id",
                second,
                "--auto-scale-formula",
                formula,
                "--auto-scale-evaluation-interval",
                "PT6M",
            )
        except AzFailed as error:
            assert "NotImplemented" in str(error), error  # noqa: PT017, no pytest here
            refused(
                "NotImplemented",
                "pool autoscale evaluate",
                "--pool-id",
                second,
                "--auto-scale-formula",
                formula,
            )
            refused("NotImplemented", "pool autoscale disable", "--pool-id", second)
            return
        equal(az("pool show", "--pool-id", second)["autoScaleFormula"], formula)
        run = az("pool autoscale evaluate", "--pool-id", second, "--auto-scale-formula", formula)
        assert "$TargetDedicatedNodes=0" in run["results"], run
        az("pool autoscale disable", "--pool-id", second)
        equal(az("pool show", "--pool-id", second)["enableAutoScale"], False)


def first_node() -> str:
    return sorted(ids(az("node list", "--pool-id", POOL)))[0]


def wait_idle(node: str) -> None:
    until(lambda: az("node show", "--pool-id", POOL, "--node-id", node)["state"] == "idle")


def nodes() -> None:
    here = ("--pool-id", POOL, "--node-id", first_node())
    with ledger.of("node list"):
        until(
            lambda: (
                len(
                    az(
                        "node list",
                        "--pool-id",
                        POOL,
                        "--filter",
                        "state eq 'idle'",
                        "--select",
                        "id",
                    )
                )
                == 2
            )
        )
    with ledger.of("node show"):
        found = az("node show", *here, "--select", "id,state,vmSize")
        equal((found["id"], found["state"], found["vmSize"]), (here[3], "idle", "standard_d2_v2"))
    with ledger.of("node scheduling disable", "node scheduling enable"):
        az("node scheduling disable", *here, "--node-disable-scheduling-option", "requeue")
        until(lambda: az("node show", *here)["state"] == "offline")
        az("node scheduling enable", *here)
        wait_idle(here[3])
    with ledger.of("node reboot"):
        before = az("node show", *here)["lastBootTime"]
        az("node reboot", *here, "--node-reboot-option", "terminate")
        until(lambda: az("node show", *here)["lastBootTime"] > before)
        wait_idle(here[3])
    with ledger.of("node user create", "node user reset", "node user delete"):
        az(
            "node user create",
            *here,
            "--name",
            "azuser",
            "--password",
            "s3cret-Pass!",
            "--is-admin",
            "--expiry-time",
            LATER,
        )
        az(
            "node user reset",
            *here,
            "--user-name",
            "azuser",
            "--ssh-public-key",
            "ssh-rsa AAAA x",
            "--expiry-time",
            LATER,
        )
        az("node user delete", *here, "--user-name", "azuser", "--yes")
        refused("NodeUserNotFound", "node user delete", *here, "--user-name", "azuser", "--yes")
    with ledger.of("node remote-login-settings show"):
        found = az("node remote-login-settings show", *here)
        assert found["remoteLoginPort"] > 0, found
        assert found["remoteLoginIpAddress"], found
    with ledger.of("node service-logs upload"):
        found = az(
            "node service-logs upload",
            *here,
            "--container-url",
            LOGS_URL,
            "--start-time",
            LONG_AGO,
            "--end-time",
            LATER,
        )
        assert found["numberOfFilesUploaded"] >= 1, found
        assert found["virtualDirectoryName"], found
