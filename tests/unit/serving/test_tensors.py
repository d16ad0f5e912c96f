"""Tensors of the Open Inference Protocol, read and written; malformed ones are named."""

import numpy as np
import pytest

from guard.errors import BadInput
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.tensors import parse_raw, read_inputs, write_output

KNOWN = ("images", "threshold")


def request(*raw: bytes, **tensor: object) -> pb.ModelInferRequest:
    fields = {"name": "images", "datatype": "FP32", "shape": [1, 2]} | tensor
    made = pb.ModelInferRequest(raw_input_contents=raw)
    made.inputs.add(**fields)
    return made


def prefixed(*items: bytes) -> bytes:
    return b"".join(len(item).to_bytes(4, "little") + item for item in items)


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP16", "<f2"), ("UINT8", "u1")])
def test_raw_numbers(datatype: str, dtype: str) -> None:
    values = np.arange(6, dtype=dtype).reshape(2, 3)
    parsed = parse_raw(values.tobytes(), datatype, [2, 3], "x")
    assert isinstance(parsed, np.ndarray)
    assert parsed.dtype == values.dtype
    np.testing.assert_array_equal(parsed, values)


def test_raw_bytes() -> None:
    items = [b"", b"\xff\xd8", b"x" * 300]
    assert parse_raw(prefixed(*items), "BYTES", [3], "x") == items


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [("FP32", "fp32_contents", [0.25, 0.5]), ("UINT8", "uint_contents", [0, 255])],
)
def test_typed_numbers(datatype: str, field: str, values: list[float]) -> None:
    contents = pb.InferTensorContents(**{field: values})
    read = read_inputs(request(datatype=datatype, contents=contents), KNOWN)
    assert np.asarray(read["images"]).tolist() == [values]


def test_typed_bytes() -> None:
    contents = pb.InferTensorContents(bytes_contents=[b"a", b"bc"])
    made = request(datatype="BYTES", shape=[2], contents=contents)
    assert read_inputs(made, KNOWN) == {"images": [b"a", b"bc"]}


FP32 = pb.InferTensorContents(fp32_contents=[0, 1])
EIGHT = b"\0" * 8


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (request(EIGHT, name="image"), "input 'image': unknown; did you mean 'images'"),
        (request(EIGHT, EIGHT), "raw_input_contents: 2 entries for 1 inputs"),
        (request(EIGHT, contents=FP32), "'images': has contents beside raw_input_contents"),
        (request(EIGHT[:-1]), r"7 bytes; FP32 \[1, 2\] takes 8"),
        (request(EIGHT, shape=[2**62, 2**62]), "8 bytes; FP32"),
        (request(EIGHT, shape=[]), "1 to 4 dimensions from 1 are wanted"),
        (request(EIGHT, shape=[0, 2**63 - 1]), "1 to 4 dimensions from 1 are wanted"),
        (request(EIGHT, shape=[-1, -2]), "1 to 4 dimensions from 1 are wanted"),
        (request(EIGHT, shape=[1] * 99 + [2]), "1 to 4 dimensions from 1 are wanted"),
        (request(EIGHT, datatype="FP64"), "type 'FP64'; taken are FP32, FP16, UINT8 and BYTES"),
        (request(EIGHT, datatype=""), "type ''"),
        (request(EIGHT, parameters={"shared_memory_region": pb.InferParameter()}), "shared_mem"),
        (request(), "0 elements in fp32_contents"),
        (request(contents=FP32, shape=[3]), r"2 elements in fp32_contents; shape \[3\] takes 3"),
        (request(contents=FP32, datatype="FP16"), "type 'FP16' in contents"),
        (
            request(datatype="UINT8", contents=pb.InferTensorContents(uint_contents=[0, 256])),
            "256 in a UINT8 tensor; at most 255",
        ),
        (request(prefixed(b"ab"), datatype="BYTES", shape=[2]), "do not add up to 2"),
        (request(prefixed(b"ab") + b"\1", datatype="BYTES", shape=[1]), "do not add up"),
        (request(prefixed(b"ab")[:-1], datatype="BYTES", shape=[1]), "do not add up"),
        (request(b"\xff\xff\xff\xff", datatype="BYTES", shape=[1]), "do not add up"),
    ],
)
def test_malformed_inputs(made: pb.ModelInferRequest, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_inputs(made, KNOWN)


def test_an_input_given_twice() -> None:
    made = request(EIGHT, EIGHT)
    made.inputs.append(made.inputs[0])
    with pytest.raises(BadInput, match="given twice"):
        read_inputs(made, KNOWN)


@pytest.mark.parametrize(
    ("values", "datatype", "field"),
    [
        (np.array([[1.5, np.nan]], np.float32), "FP32", "fp32_contents"),
        (np.array([-1, 2**40]), "INT64", "int64_contents"),
        (np.array([True, False]), "BOOL", "bool_contents"),
    ],
)
def test_numeric_outputs(values: np.ndarray, datatype: str, field: str) -> None:
    raw, typed = pb.ModelInferResponse(), pb.ModelInferResponse()
    write_output(raw, "x", values, raw=True)
    write_output(typed, "x", values, raw=False)
    for response in (raw, typed):
        (tensor,) = response.outputs
        assert (tensor.name, tensor.datatype) == ("x", datatype)
        assert list(tensor.shape) == list(values.shape)
    assert raw.raw_output_contents[0] == values.tobytes()
    assert not raw.outputs[0].HasField("contents")
    back = np.array(getattr(typed.outputs[0].contents, field), values.dtype).reshape(values.shape)
    np.testing.assert_array_equal(back, values)


def test_text_outputs() -> None:
    raw, typed = pb.ModelInferResponse(), pb.ModelInferResponse()
    words = np.array(["VALID", "UNVERIFIED"])
    write_output(raw, "verdict", words, raw=True)
    write_output(typed, "verdict", words, raw=False)
    assert raw.raw_output_contents[0] == prefixed(b"VALID", b"UNVERIFIED")
    assert list(typed.outputs[0].contents.bytes_contents) == [b"VALID", b"UNVERIFIED"]
    assert list(typed.outputs[0].shape) == [2]
