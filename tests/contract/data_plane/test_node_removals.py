"""Nodes that cannot be removed, with the SDK and real agents."""

from __future__ import annotations

from azure.batch import models as m

from lote.cli.service import temporary_service

from .conftest import create_pool, new_client, shell, until, wait_steady, wait_task


def steady(batch, pool_id):
    return until(lambda: (p := batch.get_pool(pool_id)).allocation_state == "steady" and p)


def test_a_node_that_cannot_be_removed_is_seen_and_the_pool_goes_on(tmp_path):
    with temporary_service(tmp_path) as ready, new_client(ready) as batch:
        create_pool(batch, "p", 2)
        first, second = (node.id for node in wait_steady(batch, "p"))
        info = m.BatchPoolInfo(pool_id="p")
        batch.create_job(m.BatchJobCreateOptions(id="j", pool_info=info))
        root = (tmp_path / "nodes").resolve()
        folder, aside = root / first, root / "aside"
        folder.rename(aside)
        folder.symlink_to(aside)  # what is behind a link is not removed: it may be anybody's
        removal = m.BatchNodeRemoveOptions(node_ids=[first])
        batch.begin_remove_nodes("p", removal, polling_interval=0)
        pool = steady(batch, "p")
        assert [error.code for error in pool.resize_errors] == ["RemoveNodesFailed"]
        values = {one.name: one.value for one in pool.resize_errors[0].error_values}
        assert values["NodeId"] == first
        assert (pool.target_dedicated_nodes, pool.current_dedicated_nodes) == (1, 2)
        node = batch.get_node("p", first)
        assert (node.state, node.errors[0].code) == ("leavingpool", "NodeNotRemoved")
        task = m.BatchTaskCreateOptions(id="t", command_line=shell("true"))
        batch.create_task("j", task)
        assert wait_task(batch, "j", "t").node_info.node_id == second
        folder.unlink()
        aside.rename(folder)
        resize = m.BatchPoolResizeOptions(target_dedicated_nodes=1)
        batch.begin_resize_pool("p", resize, polling_interval=0)
        pool = steady(batch, "p")
        assert (pool.resize_errors, pool.current_dedicated_nodes) == (None, 1)
        assert [one.id for one in batch.list_nodes("p")] == [second]
        assert not folder.exists()
