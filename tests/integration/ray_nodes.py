"""Two Ray nodes on this machine: `python tests/integration/ray_nodes.py FOLDER`.

They want a process of their own: Ray forks its servers, and out of a process with the threads of
torch and of gRPC, as that of the tests is, a server may die before its first line of log.

Says on stdout where the head listens. The line `kill` on stdin kills the second node, at once and
whole; the end of stdin ends both.
"""

import sys

from ray.cluster_utils import Cluster

MOST_SECONDS = 120


def main(folder: str) -> None:
    """Serve until stdin ends."""
    nodes = Cluster()
    try:
        nodes.add_node(wait=False, num_cpus=1, include_dashboard=False, temp_dir=folder)
        second = nodes.add_node(wait=False, num_cpus=1)
        nodes.wait_for_nodes(timeout=MOST_SECONDS)
        print(nodes.address, flush=True)
        for order in sys.stdin:
            if order == "kill\n":
                nodes.remove_node(second, allow_graceful=False)
                print("killed", flush=True)
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
