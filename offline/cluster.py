"""Ray as joblib's backend: tasks run on the nodes of a cluster."""

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from joblib import parallel_config

from guard.errors import BadInput

__all__ = ["on_ray"]

MOST_SECONDS = 5.0
"""So long a cluster may take to open a connection."""


@contextmanager
def on_ray(setting: str, **worker: Any) -> Iterator[None]:
    """Let joblib's tasks run on the cluster that RAY_ADDRESS names, or else on this machine.

    Args:
        setting: the one that asks for it, as messages name it.
        worker: the options of the actors that run the tasks, as `ray.remote` takes them.

    Raises:
        BadInput: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
        from ray.util.joblib import register_ray
    except ModuleNotFoundError:
        raise BadInput(f"{setting}: Ray is not installed; pip install 'cornerguard[ray]'") from None
    register_ray()
    try:
        connection = nullcontext() if ray.is_initialized() else _connect(ray)
    except (OSError, ValueError):
        address = os.environ.get("RAY_ADDRESS")
        raise BadInput(f"{setting}: no Ray cluster answers at RAY_ADDRESS={address}") from None
    with connection, parallel_config(backend="ray", ray_remote_args=worker):
        yield


def _connect(ray: ModuleType) -> AbstractContextManager[object]:
    """Start Ray, or join the cluster that RAY_ADDRESS names.

    Where nobody listens Ray would try for minutes. That is not so of an address without a port,
    such as `auto` or `local`.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    where = urlsplit(address if "://" in address else f"//{address}")
    if where.hostname and where.port:
        socket.create_connection((where.hostname, where.port), MOST_SECONDS).close()
    connection: AbstractContextManager[object] = ray.init(log_to_driver=False)
    return connection
