"""A search for counterexamples on a Ray cluster of two nodes, both on this machine."""

import threading
import time
from pathlib import Path

import ray

from tests.integration.conftest import RayNodes
from tests.unit.counterexamples.shard_samples import written


def test_two_nodes_write_the_shards_of_one_process_though_one_is_killed(
    cluster: RayNodes, tmp_path: Path
) -> None:
    here = written(tmp_path / "here", shard=1)
    assert written(tmp_path / "there", shard=1, jobs=-1, backend="ray") == here
    nodes = {node["NodeID"] for node in ray.nodes()}
    pool = ray._private.state.actors().values()
    assert {actor["Address"]["NodeID"] for actor in pool} == nodes

    folder = tmp_path / "robbed"
    killer = threading.Thread(target=kill_once_there_is_a_shard, args=(cluster, folder))
    killer.start()
    found = written(folder, shard=1, jobs=-1, backend="ray")
    killer.join()
    assert found == here
    assert sum(node["Alive"] for node in ray.nodes()) == 1


def kill_once_there_is_a_shard(cluster: RayNodes, folder: Path) -> None:
    while not list(folder.glob("*.tar")):
        time.sleep(0.01)
    assert len(list(folder.glob("*.tar"))) < 8
    cluster.kill()
