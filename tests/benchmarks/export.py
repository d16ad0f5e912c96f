"""What export gives for seven networks: agreement with the module, size, latency, seconds.

    python -m tests.benchmarks.export [--only NAME] [--pairs 40] [--save FILE]

The networks are torchvision's, with 100 classes, 224 x 224 pixels and random weights, made to
answer differently from image to image (`tests.benchmarks.random_guard`), all guarded by the same
settings: the image, the last four blocks, the energy. For ONNX, TorchScript and `.pt2`:

- `export_seconds`, and `parity`: `export.parity.require_parity` on crops of photographs that the
  guard was not set by. A file that differs, or that does not export, is named with the reason in
  `parity_failures`, and has no figures;
- `bytes` guarded and bare, and `size_ratio`. Bare is the same network exported alone; the bare ONNX
  graph is the guarded one without what its logits do not need;
- the latency guarded over bare for one image, two threads (`export.overhead.Overhead`).

On top: the largest `size_ratio` of any format over the networks above 50 MB bare and over the
others, and the largest `ratio` of latencies in ONNX Runtime.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import onnx
import onnxruntime
import torch
import typer
from jaxtyping import Float
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torchvision.models import get_model

from export.capture import Captured, capture
from export.onnx_graph import export_onnx
from export.overhead import THREADS, measure_overhead, onnx_run
from export.parity import BATCHES, require_parity
from export.quiet import upstream_quiet
from export.runners import Runner, onnx_runner, program_runner, torchscript_runner
from export.torch_export import export_program
from export.torchscript import export_torchscript, write_trace
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier
from guard.progress import track
from guard.storage import write_json
from offline.fitting import FitSettings
from tests.benchmarks.provenance import provenance
from tests.benchmarks.random_detector import watched
from tests.benchmarks.random_guard import photographs, random_guard

__all__ = ["benchmark", "summary"]

CLASSES, SIDE, IMAGES = 100, 224, sum(BATCHES)
SETTINGS = FitSettings(last_blocks=4, components=64, max_vectors=32)
LARGE = 50e6
"""Bytes of the bare file from which on a network counts as large."""

NETWORKS = {
    "resnet50": 1.03,
    "mobilenet_v3_small": 1.15,
    "efficientnet_b0": None,
    "convnext_tiny": None,
    "vit_b_16": 1.05,
    "swin_t": None,
    "densenet121": None,
}
"""And the bar of the latency's ratio in ONNX Runtime, if any."""


Run = Callable[[], object]
"""Answers for one batch, the same each time."""


class Format(NamedTuple):
    """How one kind of file is written, of the guarded network and the bare, and how it is run.

    Attributes:
        export: takes the captured network and the file to write.
        bare: takes the network, the guarded file, the file to write and two images.
        runner: takes a file and the threshold.
        run: takes a file and its inputs; the bare file has only images.
    """

    file: str
    export: Callable[[Captured, Path], None]
    bare: Callable[[nn.Module, Path, Path, Tensor], None]
    runner: Callable[[Path, Tensor], Runner]
    run: Callable[[Path, tuple[Tensor, ...]], Run]


def main(
    only: str | None = None,
    pairs: Annotated[int, typer.Option(min=2)] = 40,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    if only is not None and only not in NETWORKS:
        raise typer.BadParameter(f"{only}: one of {', '.join(NETWORKS)}")
    torch.set_num_threads(THREADS)
    found = {}
    for name, bar in NETWORKS.items():
        if only in (None, name):
            torch.manual_seed(0)
            model = get_model(name, weights=None, num_classes=CLASSES).eval()
            found[name] = {"bar": bar, **benchmark(name, model, SIDE, SETTINGS, pairs)}
    versions = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    settings = SETTINGS.model_dump(include={"last_blocks", "components", "max_vectors"})
    whole = {**provenance(), **versions, **summary(found), "settings": settings, "networks": found}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(
    name: str, model: nn.Module, side: int, settings: FitSettings, pairs: int
) -> dict[str, Any]:
    """Measure one network; see above. The model must be in evaluation mode."""
    images = photographs(2 * IMAGES, side, seed=0)
    guarded = random_guard(model, images[IMAGES:], settings)
    images = images[:IMAGES]
    with torch.no_grad():
        label, valid = guarded(images).label, guarded(images).valid
    figures: dict[str, Any] = {
        "labels": len(label.unique()),
        "valid_share": round(float(valid.float().mean()), 3),
        "watched": watched(guarded.detector),
        "failures": [],
    }
    for kind, form in track(FORMATS.items(), f"Exporting {name}", len(FORMATS)):
        with TemporaryDirectory() as folder:
            try:
                figures[kind] = _measure(form, guarded, images, Path(folder), pairs)
            except CornerguardError as error:
                figures["failures"].append(f"{name} {form.file}: {error}")
    return figures


def summary(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what stands on top; a figure is None where no network has it."""
    files = [(one, one[kind]) for one in networks.values() for kind in FORMATS if kind in one]
    large, small = (
        [file["size_ratio"] for _, file in files if (file["bytes"]["bare"] > LARGE) is above]
        for above in (True, False)
    )
    overheads = [one["onnx"]["ratio"] for one in networks.values() if "onnx" in one]
    return {
        "parity_failures": [failure for one in networks.values() for failure in one["failures"]],
        "size_ratio_large_max": max(large, default=None),
        "size_ratio_small_max": max(small, default=None),
        "overhead_onnx_max": max(overheads, default=None),
    }


def _measure(
    form: Format,
    guarded: GuardedClassifier,
    images: Float[Tensor, "b c h w"],
    folder: Path,
    pairs: int,
) -> dict[str, Any]:
    whole, bare = folder / form.file, folder / f"bare-{form.file}"
    start = perf_counter()
    form.export(capture(guarded, images[:2]), whole)
    seconds = perf_counter() - start
    threshold = guarded.detector.threshold
    parity = require_parity(guarded, form.runner(whole, threshold), images, form.file)
    form.bare(guarded.model, whole, bare, images[:2])
    sizes = {"bare": bare.stat().st_size, "guarded": whole.stat().st_size}
    one = images[:1]
    return {
        "export_seconds": round(seconds, 2),
        "parity": parity.model_dump(),
        "bytes": sizes,
        "size_ratio": round(sizes["guarded"] / sizes["bare"], 4),
        **measure_overhead(
            form.run(bare, (one,)), form.run(whole, (one, threshold)), pairs
        ).to_json(),
    }


def _bare_graph(model: nn.Module, whole: Path, bare: Path, images: Tensor) -> None:
    onnx.utils.extract_model(str(whole), str(bare), ["images"], ["logits"])


def _bare_torchscript(model: nn.Module, whole: Path, bare: Path, images: Tensor) -> None:
    with upstream_quiet(), torch.no_grad():
        warnings.simplefilter("ignore", TracerWarning)  # of shapes that Python checks
        write_trace(torch.jit.trace(model, images, check_trace=False), bare)


def _bare_program(model: nn.Module, whole: Path, bare: Path, images: Tensor) -> None:
    batch = ({0: torch.export.Dim("batch")},)
    with upstream_quiet():
        blank = (torch.zeros_like(images),)
        program = torch.export.export(model, blank, dynamic_shapes=batch, strict=False)
        torch.export.save(program, str(bare))


def _torchscript_run(path: Path, inputs: tuple[Tensor, ...]) -> Run:
    with upstream_quiet():
        return _torch_run(torch.jit.load(str(path)), inputs)


def _program_run(path: Path, inputs: tuple[Tensor, ...]) -> Run:
    return _torch_run(torch.export.load(str(path)).module(), inputs)


def _torch_run(module: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Run:
    def run() -> Any:
        with torch.no_grad():
            return module(*inputs)

    return run


FORMATS = {
    "onnx": Format(
        "model.onnx",
        lambda captured, path: export_onnx(captured, path, {}),
        _bare_graph,
        lambda path, threshold: onnx_runner(path),
        lambda path, inputs: onnx_run(path, inputs[0].numpy()),
    ),
    "torchscript": Format(
        "model.ts", export_torchscript, _bare_torchscript, torchscript_runner, _torchscript_run
    ),
    "pt2": Format("model.pt2", export_program, _bare_program, program_runner, _program_run),
}

if __name__ == "__main__":
    typer.run(main)
