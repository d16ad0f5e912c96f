"""The ONNX Runtime session of one graph: images in, outputs and verdicts out, each in place."""

import logging
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from guard.errors import BadBundle, one_line
from guard.serving.cuda_driver import CudaDriver
from guard.serving.graph import Graph
from guard.serving.providers import CPU, Accelerator, DeviceMissing, chain, choose, device_of
from guard.serving.shared import Layout
from guard.serving.verdict import Judged, Outputs, judge

__all__ = ["Engine"]

log = logging.getLogger(__name__)
KINDS = ("tensor(float)", "tensor(int64)", *["tensor(float)"] * 3, "tensor(bool)")
NAMES = dict(zip((field.name for field in fields(Outputs)), KINDS, strict=True))
DEVICE_FAILED = re.compile(r"\b(CUDA|CUDNN|CUBLAS\w*|CUFFT|TENSORRT)\W(failure|error)", re.I)


class Engine:
    """Runs a guarded model.

    Args:
        graph: the verified graph.
        threads: threads of one run; 0 takes one for each CPU core.
        accelerator: where it runs. On a GPU nothing falls back to the CPU but what CUDA has no
            kernel for.

    Attributes:
        threshold: the calibrated one of this graph.
        device: `cpu`, `cuda` or `tensorrt`.
        driver: of the GPU; None on a CPU.

    Raises:
        BadBundle: the graph does not load, lacks an input or output, or fails its first run.
        DeviceMissing: the accelerator cannot be used.
    """

    def __init__(self, graph: Graph, threads: int = 0, accelerator: Accelerator = "auto") -> None:
        self._path, self.threshold = graph.path, graph.threshold
        self._layout = Layout(graph.classes, graph.layers, images=1)
        self._threshold = np.empty(1, np.float32)
        provider = choose(accelerator)
        self.device = device_of(provider)
        self._session = self._open(graph, threads, provider)
        self._check_names()
        self.driver = None if provider == CPU else CudaDriver()
        self._warm_up(graph)

    def run(self, images: NDArray[np.float32], threshold: float) -> Judged:
        """Judge a batch `[batch, channel, height, width]`; if the run fails, all are UNVERIFIED."""
        batch = len(images)
        outputs = self._layout.outputs(bytearray(self._layout.size(batch)), batch)
        try:
            self.run_into(outputs, images, threshold)
        except Exception as error:  # whatever went wrong, it must not become a pass
            log.exception("a run on %s images failed", batch)
            widths = self._layout.classes, self._layout.layers
            return Judged.unverified(
                batch, *widths, threshold, f"the run failed: {one_line(error)}"
            )
        verdict = outputs.pop("verdict")
        return Judged(Outputs(**outputs), verdict, threshold)

    def run_into(
        self,
        outputs: Mapping[str, NDArray[Any]],
        images: NDArray[np.float32],
        threshold: float,
    ) -> None:
        """Judge a batch, and leave outputs and `verdict` in the arrays that are given for them.

        Images and outputs are used where they lie; a GPU reads and writes them there if they are
        pinned.

        Raises:
            Exception: whatever ONNX Runtime raises; see `lost`.
        """
        # The threshold is always given, so that the one that is reported is the one that decided.
        self._threshold[0] = threshold
        binding = self._session.io_binding()
        # Values of ONNX Runtime's own, for a plain array cannot be bound to an initializer.
        for name, array in (("images", images), ("threshold", self._threshold)):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name in NAMES:
            value = outputs[name]
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        judged = judge(Outputs(**{name: outputs[name] for name in NAMES}), threshold)
        outputs["valid"][:] = judged.outputs.valid
        outputs["verdict"][:] = judged.verdict

    def lost(self, error: Exception) -> bool:
        """Whether the GPU is of no more use to this process after this error of `run_into`."""
        if self.driver is None:
            return False
        return bool(DEVICE_FAILED.search(str(error))) or not self.driver.answers()

    def _open(self, graph: Graph, threads: int, provider: str) -> Any:
        (_, content), *weights = graph.contents().items()
        options = _options(threads)
        try:
            if weights:  # which ONNX Runtime takes from memory since 1.24
                maps = [content for _, content in weights]
                options.add_external_initializers_from_files_in_memory(
                    [name for name, _ in weights], maps, [len(content) for content in maps]
                )
            session = onnxruntime.InferenceSession(
                content[:], options, providers=chain(provider), enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            if DEVICE_FAILED.search(str(error)):
                raise DeviceMissing(f"{self.device}: {one_line(error)}") from None
            raise BadBundle(f"{self._path}: does not load: {one_line(error)}") from None
        if provider not in session.get_providers():
            raise DeviceMissing(f"{self.device}: its libraries do not load in ONNX Runtime")
        return session

    def _check_names(self) -> None:
        session = self._session
        inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
        outputs = {output.name: output.type for output in session.get_outputs()}
        for kind, present, wanted in (
            ("input", {value.name for value in inputs}, {"images", "threshold"}),
            ("output", set(outputs), set(NAMES)),
        ):
            if missing := wanted - present:
                raise BadBundle(f"{self._path}: no {kind} {', '.join(sorted(missing))}")
        for name, wanted_type in NAMES.items():
            if outputs[name] != wanted_type:
                raise BadBundle(f"{self._path}: {name} is {outputs[name]}, not {wanted_type}")

    def _warm_up(self, graph: Graph) -> None:
        """Run once, so that the first caller does not wait for allocations."""
        images = np.full((1, *graph.image), 0.5, np.float32)
        outputs = self._layout.outputs(bytearray(self._layout.size(1)), 1)
        try:
            self.run_into(outputs, images, self.threshold)
        except Exception as error:
            if self.lost(error):
                raise DeviceMissing(f"{self.device}: {one_line(error)}") from None
            raise BadBundle(f"{self._path}: cannot be run: {one_line(error)}") from None


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised; its lines are no JSON
    # Between two runs the threads sleep: the cores are needed to decode and to answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
