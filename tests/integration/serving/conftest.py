"""One server for all tests that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.integration.serving.running import Running, running
from tests.unit.serving.tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_bundle: Path) -> Iterator[Running]:
    with running(tiny_bundle) as server:
        yield server


@pytest.fixture(scope="session")
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel
