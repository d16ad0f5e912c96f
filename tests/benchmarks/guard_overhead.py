"""What the guard costs: the latency of the guarded graph over that of the bare model.

    python -m tests.benchmarks.guard_overhead [--only NAME] [--pairs 40] [--provider cpu|cuda]
        [--save FILE]

Both graphs come of one export: the bare one is the guarded one without what its logits do not need.
They run in ONNX Runtime, two threads, one process, in interleaved pairs
(`export.overhead.Overhead` says what the figures are).

Latency depends on sizes, not on values: the weights are random, and so are the SVMs
(`tests.benchmarks.random_detector`). `operations` counts the floating-point operations of one run
from the shapes in the graphs (`export.operations`).

The CIFAR network is guarded as detection is measured, by the default settings. On ImageNet's
thousand classes the image, the last four blocks and the energy are watched, with 64 components (the
default's 256 would weigh gigabytes). `resnet50_stages_b1` watches the last block of each stage
instead, whose maps are up to eight times as large, and has no bar.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import onnx
import onnxruntime
import torch
import typer
from torch import nn
from torchvision.models import mobilenet_v3_large, resnet50, vit_b_16

from export.capture import capture
from export.onnx_graph import export_onnx
from export.operations import operations
from export.overhead import Provider, measure_overhead, onnx_run
from guard.guarded import GuardedClassifier
from guard.probes import ENERGY
from guard.storage import write_json
from offline.fitting import FitSettings
from offline.networks import small_resnet
from tests.benchmarks.provenance import provenance
from tests.benchmarks.random_detector import random_detector, watched
from tests.benchmarks.subjects import CIFAR_NETWORK

__all__ = ["CASES", "Case", "benchmark"]


class Case(NamedTuple):
    """A model, what it is given, how its guard is fitted, and the bar of the ratio, if any."""

    model: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    batch: int
    settings: FitSettings
    bar: float | None


IMAGE = (3, 224, 224)
REAR = FitSettings(last_blocks=4, components=64)
STAGES = FitSettings(layers=("layer1", "layer2", "layer3", "layer4", ENERGY), components=64)
CASES = {
    "resnet50_b1": Case(resnet50, IMAGE, 1, REAR, 1.03),
    "resnet50_b8": Case(resnet50, IMAGE, 8, REAR, 1.03),
    "resnet50_stages_b1": Case(resnet50, IMAGE, 1, STAGES, None),
    "mobilenet_v3_b1": Case(mobilenet_v3_large, IMAGE, 1, REAR, 1.15),
    "vit_b_16_b1": Case(vit_b_16, IMAGE, 1, REAR, 1.05),
    "cifar_b64": Case(
        lambda: small_resnet(10, **CIFAR_NETWORK), (3, 32, 32), 64, FitSettings(), 1.20
    ),
}


def main(
    only: str | None = None,
    pairs: Annotated[int, typer.Option(min=2)] = 40,
    provider: Provider = "cpu",
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    if only is not None and only not in CASES:
        raise typer.BadParameter(f"{only}: one of {', '.join(CASES)}")
    found = {
        name: benchmark(case, pairs, provider)
        for name, case in CASES.items()
        if only in (None, name)
    }
    whole = {**provenance(), "onnxruntime": onnxruntime.__version__, "provider": provider, **found}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(case: Case, pairs: int, provider: Provider) -> dict[str, Any]:
    """Measure one case; see above."""
    torch.manual_seed(0)
    model = case.model().eval()
    images = torch.rand(case.batch, *case.shape)
    guarded = GuardedClassifier(model, random_detector(model, images, case.settings)).eval()
    with TemporaryDirectory() as folder:
        whole, bare = Path(folder) / "guarded.onnx", Path(folder) / "bare.onnx"
        export_onnx(capture(guarded, torch.rand(2, *case.shape)), whole, {})
        onnx.utils.extract_model(str(whole), str(bare), ["images"], ["logits"])
        counts = [operations(onnx.load(path), case.batch).total() for path in (bare, whole)]
        runs = [onnx_run(path, images.numpy(), provider) for path in (bare, whole)]
        latency = measure_overhead(*runs, pairs)
    return {
        **latency.to_json(),
        "bar": case.bar,
        "operations": {"bare": counts[0], "added": counts[1] - counts[0]},
        "watched": watched(guarded.detector),
    }


if __name__ == "__main__":
    typer.run(main)
