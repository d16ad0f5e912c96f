"""A detector's calibration inside of a graph that is written already."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from export.onnx_graph import write_graph
from guard.deep_validation import DeepValidation
from guard.errors import CornerguardError

__all__ = ["require_calibrated", "set_calibration"]


def set_calibration(path: Path, detector: DeepValidation, metadata: Mapping[str, str]) -> None:
    """Put what a calibration sets into a graph, under the names that the exporter kept.

    Of two equal tensors the exporter keeps one, under either's name: offsets that are all 0, for
    example, which no calibration moves. `require_calibrated` holds the graph's answers against the
    detector, so that no other can be missed.

    Args:
        path: a graph as `export_onnx` or `quantise` wrote it; it is written anew.
        detector: the calibrated one, of the same validators.
        metadata: becomes the model's metadata properties.
    """
    model = onnx.load(path)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, buffer in detector.named_buffers():
        if name.startswith("validators."):
            continue
        wanted = numpy_helper.from_array(buffer.cpu().numpy())
        wanted.name = "threshold" if name == "threshold" else f"detector.{name}"
        if wanted.name in initializers:
            initializers[wanted.name].CopyFrom(wanted)
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    write_graph(model, path)


def require_calibrated(said: Mapping[str, np.ndarray], detector: DeepValidation, name: str) -> None:
    """Hold a graph's scores, p-values and verdicts against the detector's.

    Args:
        said: the graph's outputs by name; their discrepancies are what the detector joins.
        detector: what the graph was calibrated with.
        name: what the message calls the graph.

    Raises:
        CornerguardError: they differ.
    """
    device = detector.threshold.device
    discrepancy, label, score = (
        torch.from_numpy(said[field]).to(device) for field in ("discrepancy", "label", "score")
    )
    with torch.no_grad():
        expected = detector.joint(discrepancy, label)
        p_value = detector.p_value(score, label).cpu().numpy()
    same_score = torch.allclose(score, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    same_verdict = (said["valid"] == (score <= detector.threshold).cpu().numpy()).all()
    if not (same_score and same_verdict and np.allclose(said["p_value"], p_value, atol=1e-6)):
        raise CornerguardError(f"{name}: the graph does not hold what its calibration set")
