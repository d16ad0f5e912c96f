"""The generated messages are those of the .proto files, and their numbers the public ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

import guard.serving.protocol as package
from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.verdict import VERDICTS

PROTOS = Path(__file__).parents[3] / "protos"
GENERATED = Path(next(iter(package.__path__)))


@pytest.mark.parametrize("module", [guard_pb2, inference_pb2], ids=["guard", "inference"])
def test_generated_files_are_current(module: object, tmp_path: Path) -> None:
    descriptor: FileDescriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}"),
            *(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"),
            *(f"--grpc_python_out={tmp_path}", f"--descriptor_set_out={tmp_path / 'set'}"),
            descriptor.name,
        ],
        check=True,
        timeout=60,
    )
    fresh = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file[0]
    checked_in = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(checked_in)
    for made in (fresh, checked_in):
        for message in made.message_type:
            _clear_json_names(message)
    assert checked_in == fresh
    for path in (tmp_path / "guard/serving/protocol").iterdir():
        if path.name.endswith(("_pb2.pyi", "_pb2_grpc.py")):
            stored = (GENERATED / path.name).read_text()
            assert _names(stored) == _names(path.read_text()), f"{path.name}: run `make protos`"


def _clear_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """Drop what the compiler adds to one form of the descriptor and not to the other."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _clear_json_names(nested)


def _names(source: str) -> list[str]:
    """Return what a generated file defines; its layout differs between compiler releases."""
    return re.findall(r"^\s*(?:class|def) (\w+)|^ +(\w+): ", source, re.MULTILINE)


def test_field_numbers_of_the_open_inference_protocol() -> None:
    """The numbers of the public protocol, written down from its specification."""
    expected = {
        "ModelInferRequest": "model_name=1 model_version=2 id=3 parameters=4 inputs=5 outputs=6 "
        "raw_input_contents=7",
        "ModelInferRequest.InferInputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
        "ModelInferRequest.InferRequestedOutputTensor": "name=1 parameters=2",
        "ModelInferResponse": "model_name=1 model_version=2 id=3 parameters=4 outputs=5 "
        "raw_output_contents=6",
        "ModelInferResponse.InferOutputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
        "InferParameter": "bool_param=1 int64_param=2 string_param=3 double_param=4 uint64_param=5",
        "InferTensorContents": "bool_contents=1 int_contents=2 int64_contents=3 uint_contents=4 "
        "uint64_contents=5 fp32_contents=6 fp64_contents=7 bytes_contents=8",
        "ModelMetadataResponse": "name=1 versions=2 platform=3 inputs=4 outputs=5",
        "ModelMetadataResponse.TensorMetadata": "name=1 datatype=2 shape=3",
        "ServerMetadataResponse": "name=1 version=2 extensions=3",
        "ModelReadyRequest": "name=1 version=2",
    }
    assert inference_pb2.DESCRIPTOR.package == "inference"
    for path, fields in expected.items():
        outer, _, inner = path.partition(".")
        message = inference_pb2.DESCRIPTOR.message_types_by_name[outer]
        message = message.nested_types_by_name[inner] if inner else message
        assert " ".join(f"{field.name}={field.number}" for field in message.fields) == fields


def test_an_answer_that_says_nothing_is_not_a_pass() -> None:
    numbers = guard_pb2.DESCRIPTOR.enum_types_by_name["Verdict"].values
    assert tuple(value.name for value in numbers) == VERDICTS
    assert guard_pb2.Verdict.Name(guard_pb2.CheckResponse().verdict) == "UNVERIFIED"
