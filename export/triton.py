"""A bundle as a model of a Triton Inference Server model repository."""

import json
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from guard.bundle import Bundle
from guard.errors import BadInput
from guard.manifest import Manifest, TensorSpec
from guard.settings import Settings
from guard.storage import replace_directory, write_text

__all__ = ["TritonSettings", "write_triton_repository"]

CONFIG_NAME = "config.pbtxt"
LABELS_NAME = "labels.txt"
TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "bool": "TYPE_BOOL"}


class TritonSettings(Settings):
    """How Triton is to run the model.

    Attributes:
        name: what clients call the model; by default the name of the bundle's folder.
        max_batch_size: most images of one run, which Triton puts together from several requests.
            At 0 it runs each request as it comes, of any number of images, and the request may
            bring its own `threshold`. Triton batches every input along its first axis, which
            `threshold` does not have, and its ONNX Runtime backend refuses optional inputs of a
            model that batches: then the calibrated threshold decides `valid`, and a client that
            wants another compares `score` itself.
        preferred_batch_sizes: sizes at which Triton stops waiting for more requests.
        queue_delay: the longest that a request waits for others, in microseconds.
        instances: how many copies of the model run side by side.
        device: where they run; `auto` is each GPU that Triton has, or else the CPU.
    """

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    max_batch_size: int = Field(64, ge=0)
    preferred_batch_sizes: tuple[int, ...] = ()
    queue_delay: int = Field(2000, ge=0, description="microseconds")
    instances: int = Field(1, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"

    @model_validator(mode="after")
    def _sizes_fit(self) -> "TritonSettings":
        if not all(1 <= size <= self.max_batch_size for size in self.preferred_batch_sizes):
            raise ValueError(f"preferred batch sizes lie between 1 and {self.max_batch_size}")
        return self


def write_triton_repository(
    bundle: Bundle, folder: Path, settings: TritonSettings | None = None
) -> Path:
    """Write `folder`/NAME with `config.pbtxt`, `labels.txt` and the graph as version 1.

    Other models of the repository stay as they are; an older one of the same name is replaced.

    Returns:
        The model's folder.

    Raises:
        BadInput: the bundle's folder has no name that Triton takes, or a folder of that name lies
            there which is no model of Triton's.
    """
    settings = settings or TritonSettings()
    name = settings.name or bundle.path.resolve().name
    if settings.name is None:
        try:
            TritonSettings(name=name)
        except ValueError:
            raise BadInput(f"{bundle.path}: {name!r} is no name for a model; give one") from None
    target = folder / name
    if target.exists() and not (target / CONFIG_NAME).is_file():
        raise BadInput(f"{target}: exists, but is no Triton model: it has no {CONFIG_NAME}")
    with replace_directory(target) as aside:
        version = aside / "1"
        version.mkdir()
        graph = bundle.onnx_path().name
        for file in bundle.manifest.files:
            # Beside the graph may lie what is too large for it: model.onnx.data.
            if file == graph or file.startswith(f"{graph}."):
                shutil.copyfile(bundle.path / file, version / file)
        labels = [" ".join(label.split()) for label in bundle.manifest.class_names]
        write_text(aside / LABELS_NAME, "\n".join(labels) + "\n")
        write_text(aside / CONFIG_NAME, _config(bundle.manifest, name, graph, settings))
    return target


def _config(manifest: Manifest, name: str, graph: str, settings: TritonSettings) -> str:
    size = settings.max_batch_size
    inputs = [spec for spec in manifest.inputs if not size or _has_batch(spec)]
    kind = f"KIND_{settings.device.upper()}"
    labelled = {"logits": f' label_filename: "{LABELS_NAME}"'}
    facts = {
        "cornerguard.threshold": repr(manifest.threshold),
        "cornerguard.false_alarm_rate": repr(manifest.false_alarm_rate),
        "cornerguard.bundle": manifest.digest,
    }
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {json.dumps(graph)}",
        f"max_batch_size: {size}",
        "input [",
        ",\n".join(
            f"  {{ {_tensor(spec, size)}{'' if _has_batch(spec) else ' optional: true'} }}"
            for spec in inputs
        ),
        "]",
        "output [",
        ",\n".join(
            f"  {{ {_tensor(spec, size)}{labelled.get(spec.name, '')} }}"
            for spec in manifest.outputs
        ),
        "]",
        f"instance_group [ {{ kind: {kind} count: {settings.instances} }} ]",
        *(_batching(settings) if size else []),
        *(_FULL_FLOAT32 if settings.device != "cpu" else []),
        *(
            f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
            for key, value in facts.items()
        ),
    ]
    return "\n".join(lines) + "\n"


# TF32 would round scores to three digits and so move verdicts near the threshold.
_FULL_FLOAT32 = (
    "optimization { execution_accelerators { gpu_execution_accelerator [",
    '  { name: "cuda" parameters { key: "use_tf32" value: "0" } }',
    "] } }",
)


def _batching(settings: TritonSettings) -> list[str]:
    preferred = ", ".join(str(size) for size in settings.preferred_batch_sizes)
    return [
        "dynamic_batching {",
        *([f"  preferred_batch_size: [ {preferred} ]"] if preferred else []),
        f"  max_queue_delay_microseconds: {settings.queue_delay}",
        "}",
    ]


def _tensor(spec: TensorSpec, max_batch_size: int) -> str:
    shape = spec.shape[1:] if max_batch_size else spec.shape
    # Triton wants one axis at least: a number for each image is declared [1] and reshaped to [].
    dims, reshape = (shape, "") if shape else ((1,), " reshape { shape: [ ] }")
    sizes = ", ".join(str(size) for size in dims)
    return (
        f"name: {json.dumps(spec.name)} data_type: {TYPES[spec.datatype]} "
        f"dims: [ {sizes} ]{reshape}"
    )


def _has_batch(spec: TensorSpec) -> bool:
    return spec.shape[0] == -1
