"""Pools with containers and accounts: what their nodes are told, and when they are ready."""

from __future__ import annotations

from bench import a_pool

from lote.engines.script import Outcome, Script
from lote.wire.frames import Account, ContainerPool, Registry, Setup

MACHINE = a_pool()["virtualMachineConfiguration"]
REGISTRIES = [{"registryServer": "r.io", "username": "me", "password": "pa55"}, {"username": "x"}]
CONTAINERS = {
    "virtualMachineConfiguration": MACHINE
    | {
        "containerConfiguration": {
            "type": "dockerCompatible",
            "containerImageNames": ["i"],
            "containerRegistries": REGISTRIES,
        }
    }
}
INSIDE = {"containerSettings": {"imageName": "i"}}
TOLD = ContainerPool(["i"], [Registry("r.io", "me", "pa55"), Registry("docker.io", "x", "")])


def memory_of(bench):
    return bench.owner.memory


def test_nodes_are_told_of_images_and_accounts(bench):
    accounts = [
        {"name": "ann", "password": "s3cret"},
        {
            "name": "bob",
            "password": "s3cret",
            "elevationLevel": "admin",
            "linuxUserConfiguration": {"uid": 7, "gid": 8},
        },
    ]
    bench.add_pool(userAccounts=accounts, **CONTAINERS)
    (pool,) = memory_of(bench).pools.values()
    assert pool.containers == TOLD
    assert pool.accounts == [Account("ann", False), Account("bob", True, 7, 8)]
    bench.restart()
    (pool,) = memory_of(bench).pools.values()
    assert pool.containers == TOLD
    assert "s3cret" not in str(Setup("a", "u", "p", True, 1, None, False, None, [], None,
                                     pool.accounts, pool.containers))  # fmt: skip


def test_an_empty_pool_can_get_containers_and_lose_them(bench):
    bench.add_pool(nodes=0)
    (pool,) = memory_of(bench).pools.values()
    assert pool.containers is None
    bench.ask("update_pool", CONTAINERS, pool_id="p")
    assert pool.containers == TOLD
    bench.ask("update_pool", {"virtualMachineConfiguration": MACHINE}, pool_id="p")
    assert pool.containers is None


def test_nodes_are_ready_with_their_images_and_stay_so_over_restarts(bench):
    start = {"commandLine": "sleep 5"}
    bench.add_pool(nodes=2, startTask=start, **CONTAINERS)
    assert bench.node_states() == ["waitingforstarttask"] * 2
    bench.advance(6)
    assert bench.node_states() == ["idle"] * 2
    bench.add_job()
    for task_id in ("a", "b", "c"):
        bench.add_task(task_id, **INSIDE)
    bench.advance(1)
    assert bench.node_states() == ["running"] * 2
    bench.restart()
    assert bench.node_states() == ["running"] * 2
    bench.advance(30)
    assert bench.counts()["succeeded"] == 3
    assert bench.node_states() == ["idle"] * 2
    bench.check()


def test_a_node_that_was_away_is_ready_again(bench):
    bench.add_pool(**CONTAINERS)
    bench.add_job()
    bench.add_task("a", **INSIDE)
    (node,) = bench.nodes()
    bench.engine.cut(node["id"])
    bench.settle()
    bench.advance(1)
    assert bench.node_states() == ["unknown"]
    bench.engine.mend(node["id"])
    bench.settle()
    assert bench.node_states() == ["running"]
    bench.advance(30)
    assert bench.counts()["succeeded"] == 1
    assert bench.node_states() == ["idle"]
    bench.check()


def test_a_node_is_not_ready_before_it_has_its_images(bench, monkeypatch):
    from lote.engines import fake_node

    told = []
    real = fake_node.FakeNode._set_up

    def without_images(node, frame):
        told.append(frame.containers)
        bare = Setup(**{name: getattr(frame, name) for name in frame.__struct_fields__}
                     | {"containers": None})  # fmt: skip
        real(node, bare)

    monkeypatch.setitem(fake_node._ACTIONS, Setup, without_images)
    bench.add_pool(**CONTAINERS)
    bench.advance(5)
    assert told == [TOLD]
    assert bench.node_states() == ["starting"]


def test_a_multi_instance_task_runs_in_containers(make_bench):
    script = Script(coordination=lambda task, number: Outcome(1.0))
    bench = make_bench(script)
    bench.add_pool(nodes=2, enableInterNodeCommunication=True, **CONTAINERS)
    bench.add_job()
    multi = {"numberOfInstances": 2, "coordinationCommandLine": "x"}
    bench.add_task("g", multiInstanceSettings=multi, **INSIDE)
    bench.advance(30)
    assert bench.counts()["succeeded"] == 1
    bench.check()
