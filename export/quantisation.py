"""An ONNX graph whose products are of int8, quantised by ONNX Runtime on clean images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from export.images import Images
from export.onnx_graph import write_graph
from export.quiet import root_log_dropped
from export.scopes import scopes_of
from guard.errors import CornerguardError
from guard.progress import track

__all__ = ["quantise"]

PRODUCTS = ("Conv", "Gemm", "MatMul")
BATCH = 32


def quantise(source: Path, path: Path, images: Images) -> None:
    """Quantise the classifier of a guarded graph, and leave its detector as it is.

    Static, with QuantizeLinear and DequantizeLinear around the convolutions and matrix products
    (QDQ): weights by channel, activations by the range that they have on `images`. Both are
    symmetric, which TensorRT asks for. What the last product gives is left in float32, so that
    logits are not rounded to steps.

    Args:
        source: the float32 graph, as `export_onnx` writes it.
        path: the file to write.
        images: clean ones, streamed.

    Raises:
        CornerguardError: the model has no convolution or matrix product to quantise.
    """
    model = onnx.load(source)
    # The exporter has inferred shapes and folded constants already: what this property asserts.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    kept = [node.name for node in model.graph.node if not _of_the_model(node)]
    # Else the session that it opens warns that the threshold can be overridden, as is meant.
    onnxruntime.set_default_logger_severity(3)
    with root_log_dropped():
        quantize_static(
            model,
            path,
            _Feeds(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            use_external_data_format=source.with_name(f"{source.name}.data").exists(),
            extra_options={
                "ActivationSymmetric": True,
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
            },
        )
    onnxruntime.set_default_logger_severity(2)
    quantised = onnx.load(path)
    if not any(node.op_type == "QuantizeLinear" for node in quantised.graph.node):
        raise CornerguardError(f"{path.name}: the model has no {', '.join(PRODUCTS)} to quantise")
    write_graph(quantised, path)


class _Feeds:
    """Clean images for ONNX Runtime's calibration (its `CalibrationDataReader`), batch by batch."""

    def __init__(self, images: Images) -> None:
        self._feeds = self._stream(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next feed, or None at the end."""
        return next(self._feeds, None)

    @staticmethod
    def _stream(images: Images) -> Iterator[dict[str, np.ndarray]]:
        pieces = torch.arange(len(images)).split(BATCH)
        for piece in track(pieces, "Quantising", len(pieces)):
            yield {"images": images.fetch(piece).numpy()}


def _of_the_model(node: onnx.NodeProto) -> bool:
    return any(name.startswith("model") for name in scopes_of(node)[:1])
