"""The ONNX Runtime session of one bundle: images in, judged outputs out, and never an exception."""

import logging
from dataclasses import fields
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from guard.bundle import Bundle
from guard.errors import BadBundle
from guard.serving.images import ImageSpec
from guard.serving.providers import CPU, CUDA, chain, has_gpu, listed
from guard.serving.verdict import UNVERIFIED, Judged, Outputs, judge

__all__ = ["Engine"]

log = logging.getLogger(__name__)
NAMES = [field.name for field in fields(Outputs)]
TYPES = (np.float32, np.int64, np.float32, np.float32, np.float32, np.bool_)


class Engine:
    """Runs the guarded model of a bundle on the GPU if there is one, else on the CPU.

    Args:
        bundle: a bundle whose sums were verified.
        spec: what its model takes.
        threads: threads of one run; 0 takes one for each CPU core.
        precision: which of the bundle's graphs.

    Attributes:
        threshold: the calibrated one of this graph.

    Raises:
        BadInput: the bundle has no graph of this precision.
        BadBundle: the graph does not load, lacks an input or output, or fails its first run.
    """

    def __init__(
        self,
        bundle: Bundle,
        spec: ImageSpec,
        threads: int = 0,
        precision: str = "float32",
    ) -> None:
        manifest = bundle.manifest
        self._path = bundle.onnx_path(precision)
        self.threshold = manifest.graph(precision)[1]
        self.classes, self.layers = len(manifest.class_names), len(manifest.layer_names)
        try:
            self._session = onnxruntime.InferenceSession(
                str(self._path), _options(threads), providers=chain(_provider())
            )
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise BadBundle(f"{self._path}: does not load: {_one_line(error)}") from None
        self._check_names()
        self._warm_up(spec)

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if CUDA in self._session.get_providers() else "cpu"

    def run(self, images: NDArray[np.float32], threshold: float) -> Judged:
        """Judge a batch `[batch, channel, height, width]`; if the run fails, all are UNVERIFIED."""
        try:
            return judge(self._run(images, threshold), threshold)
        except Exception as error:  # whatever went wrong, it must not become a pass
            log.exception("a run on %s images failed", len(images))
            outputs = Outputs.undecided(len(images), self.classes, self.layers)
            verdict = np.full(len(images), UNVERIFIED, np.int8)
            return Judged(outputs, verdict, threshold, f"the run failed: {_one_line(error)}")

    def _run(self, images: NDArray[np.float32], threshold: float) -> Outputs:
        # The threshold is always given, so that the one that is reported is the one that decided.
        inputs = {"images": images, "threshold": np.array([threshold], np.float32)}
        values: list[NDArray[Any]] = self._session.run(NAMES, inputs)
        batch = len(images)
        shapes = ((batch, self.classes), (batch,), (batch, self.layers), *[(batch,)] * 3)
        for name, value, shape, dtype in zip(NAMES, values, shapes, TYPES, strict=True):
            if value.shape != shape or value.dtype != dtype:
                wanted = f"{np.dtype(dtype)} {list(shape)}"
                raise ValueError(f"{name} is {value.dtype} {list(value.shape)}, not {wanted}")
        return Outputs(*values)

    def _check_names(self) -> None:
        session = self._session
        inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
        for kind, present, wanted in (
            ("input", inputs, ["images", "threshold"]),
            ("output", session.get_outputs(), NAMES),
        ):
            missing = set(wanted) - {value.name for value in present}
            if missing:
                raise BadBundle(f"{self._path}: no {kind} {', '.join(sorted(missing))}")

    def _warm_up(self, spec: ImageSpec) -> None:
        """Run once, so that the first caller does not wait for allocations."""
        size = spec.channels, spec.height or 64, spec.width or 64
        images = np.full((1, *size), 0.5, np.float32)
        try:
            self._run(images, self.threshold)
        except Exception as error:
            raise BadBundle(f"{self._path}: cannot be run: {_one_line(error)}") from None


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Between two runs the threads sleep: the cores are needed to decode and to answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _provider() -> str:
    return CUDA if CUDA in listed() and has_gpu() else CPU


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
