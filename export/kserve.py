"""A bundle as a KServe InferenceService, version serving.kserve.io/v1beta1."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from guard.bundle import Bundle
from guard.manifest import Manifest
from guard.settings import Settings
from guard.storage import write_text

__all__ = ["KServeSettings", "write_kserve_manifest"]

GRPC_PORT = 8001
HTTP_PORT = 8002
MODELS = "/mnt/models"
"""Where KServe puts what it fetched from the storage."""


class KServeSettings(Settings):
    """Where the model lies, and what serves it.

    Attributes:
        name: of the service, and what clients call the model.
        storage_uri: where the cluster finds the files: the bundle's folder if `image` is given,
            else the Triton model repository that holds it.
        image: a container image whose entry point is `cornerguard`; left out, KServe's own Triton
            runtime serves.
        namespace: left out, the one that `kubectl` is set to.
        cpu, memory: requested, and the limit, in Kubernetes' notation.
        gpus: NVIDIA GPUs of each replica.
        min_replicas, max_replicas: between them KServe scales.
    """

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    storage_uri: str = Field(pattern=r"^(gs|s3|https?|pvc|hdfs|webhdfs|hf|oci|file)://\S+$")
    image: str | None = Field(None, min_length=1, pattern=r"^\S+$")
    namespace: str | None = Field(None, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    cpu: str = Field("1", pattern=r"^[0-9]+(\.[0-9]+)?m?$")
    memory: str = Field("2Gi", pattern=r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$")
    gpus: int = Field(0, ge=0)
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _replicas_in_order(self) -> "KServeSettings":
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas is above max_replicas, {self.max_replicas}")
        return self


def write_kserve_manifest(bundle: Bundle, path: Path, settings: KServeSettings) -> None:
    """Write the YAML that `kubectl apply -f` takes; both servers speak the v2 protocol over gRPC.

    Annotations say which bundle it is of, its threshold and its false-alarm rate.
    """
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": settings.name,
            **({"namespace": settings.namespace} if settings.namespace else {}),
            "annotations": _annotations(bundle.manifest, settings),
        },
        "spec": {
            "predictor": {
                "minReplicas": settings.min_replicas,
                "maxReplicas": settings.max_replicas,
                **_server(settings),
            }
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(service, sort_keys=False))


def _annotations(manifest: Manifest, settings: KServeSettings) -> dict[str, str]:
    metrics = {
        "serving.kserve.io/enable-prometheus-scraping": "true",
        "prometheus.kserve.io/port": str(HTTP_PORT),
        "prometheus.kserve.io/path": "/metrics",
    }
    return {
        "cornerguard.bundle": manifest.digest,
        "cornerguard.threshold": repr(manifest.threshold),
        "cornerguard.false-alarm-rate": repr(manifest.false_alarm_rate),
        # Triton's runtime says the same of itself.
        **(metrics if settings.image else {}),
    }


def _server(settings: KServeSettings) -> dict[str, Any]:
    amounts = {"cpu": settings.cpu, "memory": settings.memory}
    if settings.gpus:
        amounts["nvidia.com/gpu"] = str(settings.gpus)
    resources = {"requests": amounts, "limits": dict(amounts)}
    if settings.image is None:
        return {
            "model": {
                "modelFormat": {"name": "triton"},
                "protocolVersion": "grpc-v2",
                "storageUri": settings.storage_uri,
                "ports": [{"name": "h2c", "containerPort": 9000, "protocol": "TCP"}],
                "resources": resources,
            }
        }
    arguments = {"--name": settings.name, "--host": "0.0.0.0"}  # noqa: S104 - the pod's own network
    arguments |= {"--grpc-port": str(GRPC_PORT), "--http-port": str(HTTP_PORT)}
    return {
        "containers": [
            {
                "name": "kserve-container",
                "image": settings.image,
                "args": ["serve", MODELS, *(word for pair in arguments.items() for word in pair)],
                # KServe fetches what this names into MODELS before the container starts.
                "env": [{"name": "STORAGE_URI", "value": settings.storage_uri}],
                # Knative tells gRPC by the port's name, and takes one port only.
                "ports": [{"name": "h2c", "containerPort": GRPC_PORT, "protocol": "TCP"}],
                "readinessProbe": {"grpc": {"port": GRPC_PORT}},
                "resources": resources,
            }
        ]
    }
