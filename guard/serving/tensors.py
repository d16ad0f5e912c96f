"""Tensors as the Open Inference Protocol writes them: raw bytes, or typed contents."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput, nearest
from guard.serving.protocol import inference_pb2 as pb

__all__ = ["Tensor", "parse_raw", "read_inputs", "write_output"]

Tensor = NDArray[Any] | list[bytes]
"""An array, or the elements of a BYTES tensor."""
DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "UINT8": np.dtype("u1"),
}
OUTPUTS = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(np.bool_): "BOOL"}
FIELDS = {"FP32": "fp32_contents", "UINT8": "uint_contents", "BYTES": "bytes_contents"}
OUTPUT_FIELDS = {"FP32": "fp32_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}


def read_inputs(request: pb.ModelInferRequest, known: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the input tensors by name; those of type BYTES as a flat list.

    Raises:
        BadInput: an unknown, repeated or malformed input, a type that is not taken, too few or too
            many elements for the shape.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadInput(f"raw_input_contents: {len(raw)} entries for {len(request.inputs)} inputs")
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(request.inputs):
        where = f"input {tensor.name!r}"
        if tensor.name not in known:
            raise BadInput(f"{where}: unknown{nearest(tensor.name, known)}")
        if tensor.name in tensors:
            raise BadInput(f"{where}: given twice")
        if tensor.parameters:
            raise BadInput(f"{where}: parameter {min(tensor.parameters)!r}; none are taken here")
        if raw and tensor.HasField("contents"):
            raise BadInput(f"{where}: has contents beside raw_input_contents")
        if raw:
            tensors[tensor.name] = parse_raw(raw[index], tensor.datatype, tensor.shape, where)
        else:
            tensors[tensor.name] = _parse_contents(tensor, where)
    return tensors


def parse_raw(data: bytes, datatype: str, shape: Any, where: str) -> Tensor:
    """Return the tensor that little-endian bytes hold, without a copy if they are numbers.

    Raises:
        BadInput: a type that is not taken, or bytes that do not fill the shape.
    """
    elements = _elements(shape, where)
    if datatype == "BYTES":
        return _split(data, elements, where)
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise BadInput(f"{where}: type {datatype!r}; taken are {', '.join(DTYPES)} and BYTES")
    if len(data) != elements * dtype.itemsize:
        wanted = f"{datatype} {list(shape)} takes {elements * dtype.itemsize}"
        raise BadInput(f"{where}: {len(data)} bytes; {wanted}")
    return np.frombuffer(data, dtype).reshape(tuple(shape))


def write_output(
    response: pb.ModelInferResponse, name: str, values: NDArray[Any], raw: bool
) -> None:
    """Append an output: raw, or typed for a caller that sent typed contents; text is BYTES."""
    is_text = values.dtype.kind == "U"
    tensor = response.outputs.add(name=name, shape=values.shape)
    tensor.datatype = "BYTES" if is_text else OUTPUTS[values.dtype]
    if raw:
        response.raw_output_contents.append(_prefixed(values) if is_text else values.tobytes())
    elif is_text:
        tensor.contents.bytes_contents.extend(value.encode() for value in values.flat)
    else:
        getattr(tensor.contents, OUTPUT_FIELDS[tensor.datatype]).extend(values.ravel().tolist())


def _prefixed(values: NDArray[Any]) -> bytes:
    encoded = (value.encode() for value in values.flat)
    return b"".join(len(item).to_bytes(4, "little") + item for item in encoded)


def _parse_contents(tensor: pb.ModelInferRequest.InferInputTensor, where: str) -> Tensor:
    elements = _elements(tensor.shape, where)
    field = FIELDS.get(tensor.datatype)
    if field is None:
        taken = "taken are " + ", ".join(FIELDS)
        raise BadInput(f"{where}: type {tensor.datatype!r} in contents; {taken}")
    values = getattr(tensor.contents, field)
    if len(values) != elements:
        wanted = f"shape {list(tensor.shape)} takes {elements}"
        raise BadInput(f"{where}: {len(values)} elements in {field}; {wanted}")
    if tensor.datatype == "BYTES":
        return list(values)
    if tensor.datatype == "UINT8" and max(values) > 255:  # numpy would wrap it round
        raise BadInput(f"{where}: {max(values)} in a UINT8 tensor; at most 255 is allowed")
    return np.array(values, DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))


def _elements(shape: Any, where: str) -> int:
    if not 1 <= len(shape) <= 4 or min(shape) < 1:
        raise BadInput(f"{where}: shape {list(shape)[:8]}; 1 to 4 dimensions from 1 are wanted")
    return math.prod(shape)


def _split(data: bytes, elements: int, where: str) -> list[bytes]:
    """Split BYTES elements, each of which follows its length in four bytes."""
    items: list[bytes] = []
    start = 0
    while start < len(data) and len(items) < elements:
        stop = start + 4 + int.from_bytes(data[start : start + 4], "little")
        items.append(data[start + 4 : stop])
        start = stop
    if start != len(data) or len(items) != elements:
        raise BadInput(f"{where}: the lengths in its bytes do not add up to {elements} elements")
    return items
