"""ONNX graphs of lower precision, each with a detector that is calibrated on its own scores."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented
from torch import Tensor

from export.capture import capture
from export.graph_calibration import require_calibrated, set_calibration
from export.images import Calibration, Images
from export.low_precision import lowered
from export.onnx_graph import export_onnx
from export.quantisation import quantise
from export.runners import Runner, onnx_runner, run_batch
from export.settings import ExportSettings, Precision
from guard.deep_validation import DeepValidation
from guard.errors import BadInput, CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput
from guard.manifest import Variant
from guard.progress import track

__all__ = ["write_variant"]

BATCH = 64
REFERENCE_IMAGES = 4
REFERENCE_TOLERANCE = 0.1
"""Of the logits' size, between torch and ONNX's reference, which round at other places."""

Answers = dict[str, np.ndarray]


def write_variant(
    guarded: GuardedClassifier,
    precision: Precision,
    folder: Path,
    images: Float[Tensor, "n c h w"],
    calibration: Calibration,
    metadata: Mapping[str, str],
    settings: ExportSettings,
) -> Variant:
    """Write `model.PRECISION.onnx` beside the float32 `model.onnx`, calibrate and compare it.

    Its joint, threshold and clean scores are set from what it itself says of the calibration
    images, on ONNX Runtime where a provider that is present runs it. Where none does (the CPU's
    has no bfloat16), they are set from the torch module that was exported, and the file is run on
    a few images by ONNX's reference implementation; the result says so.

    Args:
        guarded: the float32 model and its detector, in evaluation mode; neither is changed.
        precision: of the variant.
        folder: holds `model.onnx` of the same model.
        images: real and clean; what the variant says of them is compared with float32.
        calibration: the calibration images, and how a detector is calibrated on them.
        metadata: of the float32 graph.
        settings: the floor for equal labels, and which sizes of images the graph takes.

    Raises:
        CornerguardError: the model does not run in this precision, scores that are not finite, or
            labels that agree with float32 on less than the floor.
    """
    path = folder / f"model.{precision}.onnx"
    module = None
    if precision == "int8":
        quantise(folder / "model.onnx", path, calibration.images)
    else:
        module = lowered(guarded, precision, settings.image_size, images[:2])
        export_onnx(capture(module, images[:2]), path, {})
    detector = copy.deepcopy(guarded.detector)
    clean = _stream(calibration.images, images.device, f"Calibrating {precision}")
    said = _answers(_engine(path, module).run, clean, path.name)
    device = detector.threshold.device
    discrepancy, label = (torch.from_numpy(said[f]).to(device) for f in ("discrepancy", "label"))
    try:
        calibration.apply(detector, discrepancy, label)
    except BadInput as error:
        raise CornerguardError(f"{path.name}: {error}; leave {precision} out") from None
    set_calibration(path, detector, {**metadata, "cornerguard.precision": precision})
    if module is not None:
        module.detector = detector
    found = _compare(guarded, _engine(path, module), images, path, detector)
    if found.same_labels < settings.least_agreement:
        raise CornerguardError(
            f"{path.name}: labels agree with float32 on {found.same_labels:.4g} of {found.images} "
            f"images, less than export.least_agreement {settings.least_agreement:g}; "
            f"leave {precision} out of export.precisions"
        )
    return found


class _Engine(NamedTuple):
    """What runs a variant.

    Attributes:
        name: as `Variant.engine`.
        run: images to the six outputs.
        runs_the_file: or only the module that the file was made from.
    """

    name: str
    run: Runner
    runs_the_file: bool


def _engine(path: Path, module: GuardedClassifier | None) -> _Engine:
    try:
        return _Engine("CPUExecutionProvider", onnx_runner(path), True)
    except (Fail, InvalidGraph, NotImplemented) as error:
        if module is None:
            raise CornerguardError(f"{path.name}: does not load: {error}") from None
        return _Engine("torch", module, False)


def _stream(images: Images, device: torch.device, what: str) -> Iterable[Tensor]:
    pieces = torch.arange(len(images)).split(BATCH)
    for piece in track(pieces, what, len(pieces)):
        yield images.fetch(piece).to(device)


def _answers(run: Runner, batches: Iterable[Tensor], name: str) -> Answers:
    with torch.no_grad():
        outputs = [run_batch(run, batch, name) for batch in batches]
    return {
        field: np.concatenate([_array(output[at]) for output in outputs])
        for at, field in enumerate(GuardedOutput._fields)
    }


def _array(output: Any) -> np.ndarray:
    return np.asarray(output.cpu() if isinstance(output, Tensor) else output)


def _compare(
    guarded: GuardedClassifier,
    engine: _Engine,
    images: Float[Tensor, "n c h w"],
    path: Path,
    detector: DeepValidation,
) -> Variant:
    ours = _answers(guarded, images.split(BATCH), "the model")
    theirs = _answers(engine.run, images.split(BATCH), path.name)
    require_calibrated(theirs, detector, path.name)
    if not engine.runs_the_file:
        _require_reference(path, theirs, images[:REFERENCE_IMAGES], detector)
    return Variant(
        file=path.name,
        threshold=float(detector.threshold),
        calibration_size=len(detector.calibration),
        images=len(images),
        same_labels=float((ours["label"] == theirs["label"]).mean()),
        same_verdicts=float((ours["valid"] == theirs["valid"]).mean()),
        false_alarm_rate=float((~theirs["valid"]).mean()),
        engine=engine.name,
        file_images=len(images) if engine.runs_the_file else min(len(images), REFERENCE_IMAGES),
    )


def _require_reference(
    path: Path, said: Answers, images: Float[Tensor, "n c h w"], detector: DeepValidation
) -> None:
    """Run the file itself by ONNX's reference; it must say what the module says, but for rounding.

    Raises:
        CornerguardError: it does not.
    """
    reference = ReferenceEvaluator(str(path))

    def run(batch: Tensor) -> Sequence[Any]:
        return list(reference.run(None, {"images": batch.cpu().numpy()}))

    found = _answers(run, images.split(BATCH), path.name)
    require_calibrated(found, detector, path.name)
    logits = said["logits"][: len(images)]
    size = np.sqrt(np.square(logits).mean())
    worst = float(np.abs(found["logits"] - logits).max() / size)
    if not worst <= REFERENCE_TOLERANCE:
        raise CornerguardError(
            f"{path.name}: logits differ from torch's by {worst:.3g} of their size, run by ONNX's "
            f"reference; at most {REFERENCE_TOLERANCE:g} is allowed"
        )
