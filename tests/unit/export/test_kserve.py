"""The InferenceService holds what KServe's own definition of it requires."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from export.kserve import KServeSettings, write_kserve_manifest
from guard.bundle import load_bundle
from guard.cli import app
from guard.errors import BadInput
from tests.unit.serving.tiny_bundle import THRESHOLD, write_bundle

URI = "s3://models/guard"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("kserve") / "guard")


def written(folder: Path, **settings: Any) -> dict[str, Any]:
    path = folder.parent / "deep" / "service.yaml"
    settings = {"name": "guard", "storage_uri": URI, **settings}
    write_kserve_manifest(load_bundle(folder), path, KServeSettings(**settings))
    service: dict[str, Any] = yaml.safe_load(path.read_text())
    return service


@pytest.mark.parametrize("image", [None, "registry.example/cornerguard:1"])
def test_what_the_custom_resource_requires_is_there(folder: Path, image: str | None) -> None:
    service = written(folder, image=image, namespace="edge", gpus=2, min_replicas=0)
    assert set(service) == {"apiVersion", "kind", "metadata", "spec"}
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", service["metadata"]["name"])
    assert service["metadata"]["namespace"] == "edge"
    annotations = service["metadata"]["annotations"]
    assert all(isinstance(value, str) for value in annotations.values())
    assert annotations["cornerguard.bundle"] == load_bundle(folder).manifest.digest
    assert float(annotations["cornerguard.threshold"]) == THRESHOLD
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (0, 1)
    server = predictor["containers"][0] if image else predictor["model"]
    resources = server["resources"]
    assert resources["limits"] == resources["requests"]
    assert resources["limits"] == {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "2"}
    (port,) = server["ports"]  # Knative takes one; gRPC is told by its name
    assert port["name"] == "h2c"
    assert port["protocol"] == "TCP"
    assert isinstance(port["containerPort"], int)


def test_our_own_server_is_started_on_the_files_that_kserve_fetched(folder: Path) -> None:
    predictor = written(folder, image="registry.example/cornerguard:1")["spec"]["predictor"]
    assert "model" not in predictor
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"  # the one that KServe brings the files to
    assert container["env"] == [{"name": "STORAGE_URI", "value": URI}]
    assert container["args"][:2] == ["serve", "/mnt/models"]
    port = container["ports"][0]["containerPort"]
    assert container["readinessProbe"] == {"grpc": {"port": port}}
    options = dict(zip(container["args"][2::2], container["args"][3::2], strict=True))
    assert options["--grpc-port"] == str(port)
    assert options["--name"] == "guard"
    asked = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert all(option in asked for option in options)


def test_kserves_triton_takes_the_model_repository(folder: Path) -> None:
    predictor = written(folder)["spec"]["predictor"]
    assert "containers" not in predictor
    model = predictor["model"]
    assert model["modelFormat"] == {"name": "triton"}
    assert model["protocolVersion"] == "grpc-v2"
    assert model["storageUri"] == URI


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"name": "Guard"}, "name: "),
        ({"name": "a" * 64}, "name: "),
        ({"storage_uri": "models/guard"}, "storage_uri: "),
        ({"storage_uri": "s3://a b"}, "storage_uri: "),
        ({"image": "two words"}, "image: "),
        ({"memory": "2 GB"}, "memory: "),
        ({"min_replicas": 3}, "min_replicas is above max_replicas, 1"),
    ],
)
def test_mistakes_are_named(folder: Path, mistake: dict[str, Any], said: str) -> None:
    flags = {"name": "guard", "storage_uri": URI, **mistake}
    words = [f"--{key.replace('_', '-')}={value}" for key, value in flags.items()]
    path = folder.parent / "refused.yaml"
    ended = CliRunner().invoke(app, ["kserve", str(folder), str(path), *words])
    assert isinstance(ended.exception, BadInput), ended.output
    assert said in str(ended.exception)
    assert not path.exists()


def test_the_commands_write_both(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    ended = run(app, ["triton", str(folder), str(tmp_path / "models"), "--max-batch", "16"])
    assert ended.exit_code == 0, ended.output
    assert "max_batch_size: 16" in (tmp_path / "models/guard/config.pbtxt").read_text()
    words = ["--name", "guard", "--storage-uri", "pvc://models/repository", "--cpu", "2"]
    ended = run(app, ["kserve", str(folder), str(tmp_path / "service.yaml"), *words])
    assert ended.exit_code == 0, ended.output
    model = yaml.safe_load((tmp_path / "service.yaml").read_text())["spec"]["predictor"]["model"]
    assert model["resources"]["limits"]["cpu"] == "2"
    assert json.dumps(model["storageUri"]) == '"pvc://models/repository"'
