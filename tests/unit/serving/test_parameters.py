"""Request parameters: what is taken, what each becomes, and how others are refused."""

from typing import Any

import pytest

from guard.calling.messages import check_request
from guard.errors import BadInput
from guard.serving.parameters import classes_wanted, read_parameters
from guard.serving.protocol import inference_pb2 as pb


def given(**values: Any) -> dict[str, pb.InferParameter]:
    """Return parameters whose kind follows from the type of the value, as tritonclient does."""
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return {
        name: pb.InferParameter(**{kinds[type(value)]: value} if value is not None else {})
        for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, (None, 0, None)),
        ({"threshold": 2}, (2.0, 0, None)),
        ({"threshold": -0.5}, (-0.5, 0, None)),
        ({"threshold": "2"}, (2.0, 0, None)),
        ({"priority": 1}, (None, 4, None)),
        ({"priority": 5}, (None, 0, None)),
        ({"priority": 9}, (None, -4, None)),
        ({"priority": 0}, (None, 0, None)),
        ({"timeout": 1_500_000}, (None, 0, 1.5)),
        ({"timeout": 0}, (None, 0, None)),
        ({"triton_enable_empty_final_response": True}, (None, 0, None)),
        ({"sequence_id": 0, "sequence_start": False, "sequence_end": False}, (None, 0, None)),
    ],
)
def test_what_is_asked_for(parameters: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert tuple(read_parameters(given(**parameters))) == expected


def test_the_client_refuses_a_priority_that_the_server_would() -> None:
    assert check_request(b"", "m", None, 9).priority == 9
    for level in (-1, 10, 2**40):
        with pytest.raises(BadInput, match=rf"priority: {level}; 1 \(the highest\) to 9"):
            check_request(b"", "m", None, level)


def test_unsigned_as_tritonclient_sends_a_priority() -> None:
    read = read_parameters({"priority": pb.InferParameter(uint64_param=2)})
    assert read.priority == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"treshold": 1.0}, "'treshold': unknown; did you mean 'threshold'"),
        ({"threshold": True}, "True; a finite number"),
        ({"threshold": "high"}, "'high'; a finite number"),
        ({"threshold": float("nan")}, "nan; a finite number"),
        ({"threshold": "inf"}, "'inf'; a finite number"),
        ({"threshold": None}, "None; a finite number"),
        ({"priority": 10}, r"'priority': 10; 1 \(the highest\) to 9 are allowed"),
        ({"priority": -1}, "'priority': -1"),
        ({"priority": 1.5}, "'priority': 1.5"),
        ({"timeout": -1}, "'timeout': -1; microseconds from 1, or 0 for none"),
        ({"timeout": 0.5}, "'timeout': 0.5"),
        ({"sequence_id": 7}, "'sequence_id': the model keeps nothing"),
        ({"sequence_id": "a"}, "'sequence_id': the model keeps nothing"),
        ({"sequence_start": True}, "'sequence_start': the model keeps nothing"),
        ({"triton_enable_empty_final_response": 1}, "1; true or false is wanted"),
        ({"triton_else": True}, "'triton_else': unknown"),
    ],
)
def test_what_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_parameters(given(**parameters))


def test_classes() -> None:
    assert classes_wanted({}, "output 'x'") is None
    assert classes_wanted(given(classification=2), "output 'x'") == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"classification": 0}, "'classification': 0; a number from 1"),
        ({"classification": True}, "True; a number from 1"),
        ({"classification": "2"}, "'2'; a number from 1"),
        ({"binary_data": True}, "'binary_data'; only 'classification' is taken"),
    ],
)
def test_classes_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"output 'x': parameter .*{message}"):
        classes_wanted(given(**parameters), "output 'x'")
