"""From a guarded model to a `torch.export` program: what every format is made of or checked by."""

import copy
import re
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.blame import named, running_modules
from export.image_size import dynamic_axes
from export.quiet import upstream_quiet
from export.stacking import stacked
from export.trial import first_line, require_exportable
from guard.errors import BadInput
from guard.guarded import GuardedClassifier

__all__ = ["Captured", "capture", "unsupported_operation"]


class Captured(NamedTuple):
    """A guarded model that can be a graph, in any number of formats.

    Attributes:
        guarded: in evaluation mode.
        images: two or more, of the size that the graph is to take, or of any.
        program: of its `stacked` twin, for any batch; it takes images and threshold, and gives a
            plain tuple.
    """

    guarded: GuardedClassifier
    images: Float[Tensor, "b c h w"]
    program: ExportedProgram


def capture(guarded: GuardedClassifier, images: Float[Tensor, "b c h w"]) -> Captured:
    """Try the model on images, then capture it.

    Args:
        guarded: in evaluation mode.
        images: two or more, because a batch of one would be taken for a constant. Real ones: the
            model is first tried on them (`export.trial`).

    Raises:
        BadInput: the model fails its trial, or cannot be captured: its code branches on values, or
            uses what torch cannot capture. One line that names the module and says what to do.
    """
    require_exportable(guarded, images)
    twin = stacked(guarded)
    with running_modules(twin) as stack:
        try:
            with upstream_quiet():
                program = torch.export.export(
                    _unnamed(twin),
                    # The program keeps its example: blank, not the user's own images.
                    (torch.zeros_like(images), guarded.detector.threshold.clone()),
                    dynamic_shapes=(dynamic_axes(guarded), None),
                    strict=False,
                )
        except Exception as error:  # a model's own code may raise anything
            # An error behind the forward, over the constraints found in it, is of the whole model.
            where = named(twin, stack[-1] if stack else "model")
            raise BadInput(f"{where}: {_explained(error)}") from None
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # paths and code of whoever exports
    return Captured(guarded, images, program)


def unsupported_operation(captured: Captured, error: Exception) -> str:
    """Say which module's operation ONNX lacks, given the exporter's error."""
    found = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
    if not found:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return f"the model does not export to ONNX: {first_line(cause)}"
    operation = found[1]
    guarded, _, program = captured
    # It may be what another one is made of, such as prims.bessel_j0 of aten.special_bessel_j0.
    path = _path_of(program, operation) or _path_of(program.run_decompositions(), operation)
    return (
        f"{named(guarded, path or 'model')}: uses {operation}, which ONNX has no operation for; "
        "write it with others, or put another layer in its place"
    )


def _path_of(program: ExportedProgram, operation: str) -> str | None:
    """Name the module, as a path in the guarded model, that runs an operation."""
    base = operation.rpartition(".")[2]
    for node in program.graph.nodes:
        if node.op == "call_function" and _name(node.target).endswith(base):
            paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            return str(paths[-1]) if paths else None
    return None


def _name(target: object) -> str:
    """Return `relu` of `aten.relu.default`."""
    parts = str(target).split(".")
    return parts[1] if len(parts) > 2 else parts[-1]


def _explained(error: Exception) -> str:
    text = str(error)
    if "data-dependent" in text or "is not supported for tensor subclasses" in text:
        return (
            f"its code goes by the values of a tensor{_place(text)}, where a graph cannot follow; "
            "put torch.where in the place of `if`, tensors in the place of Python's numbers"
        )
    if "Constraints violated" in text:
        return (
            f"its code goes by the size of the batch{_place(text)}, which must be free in a graph; "
            "write -1 or images.shape[0] in the place of a number"
        )
    if "fake impl" in text:
        return (
            f"torch cannot capture its operation: {first_line(error)}; write it with torch's own, "
            "or put another layer in its place"
        )
    return f"cannot be captured: {first_line(error)}; write that part with torch's own operations"


def _place(text: str) -> str:
    """Say where the code is, if torch does: ` (net.py:12)`."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', text.split("The following call raised")[-1])
    return f" ({Path(frames[0][0]).name}:{frames[0][1]})" if frames else ""


def _unnamed(guarded: GuardedClassifier) -> nn.Module:
    """Return a twin that answers with a plain tuple: a named one needs its class to be read.

    A twin and no module around it, so that parameters and scopes keep their names.
    """
    kind = type(guarded)

    class Unnamed(kind):  # type: ignore[misc, valid-type]
        def forward(self, images: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
            return tuple(super().forward(images, threshold))

    twin = copy.copy(guarded)
    twin.__class__ = Unnamed
    return twin
