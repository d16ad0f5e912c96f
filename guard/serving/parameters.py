"""The parameters of an inference request: what it may ask for beside its tensors."""

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from guard.errors import BadInput, nearest
from guard.serving.priorities import ALLOWED, LEVELS, priority_of
from guard.serving.protocol import inference_pb2 as pb

__all__ = ["Parameters", "classes_wanted", "read_parameters"]

Given = Mapping[str, pb.InferParameter]
KNOWN = ("threshold", "priority", "timeout", "triton_enable_empty_final_response")
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


class Parameters(NamedTuple):
    """What a request asks for."""

    threshold: float | None
    """Of the joint discrepancy; None for the calibrated one."""
    priority: int
    """The higher goes first; 0 is the default."""
    seconds: float | None
    """After which the request need not be run any more; None for any time."""


def read_parameters(given: Given) -> Parameters:
    """Read the parameters of a request; numbers may also be spelled as strings.

    `timeout` is in microseconds, and 0 is none, as with Triton. As every request has one response,
    which is never empty, `triton_enable_empty_final_response` changes nothing.

    Raises:
        BadInput: an unknown parameter, a value of a wrong kind, or one of a sequence.
    """
    for name, parameter in given.items():
        if name in SEQUENCE and _value(parameter):
            raise BadInput(
                f"parameter {name!r}: the model keeps nothing from one request to the next;"
                " leave it out"
            )
        if name not in (*KNOWN, *SEQUENCE):
            raise BadInput(f"parameter {name!r}: unknown{nearest(name, KNOWN)}")
    final = given.get("triton_enable_empty_final_response")
    if final is not None and not isinstance(_value(final), bool):
        raise BadInput(
            f"parameter 'triton_enable_empty_final_response': {_value(final)!r};"
            " true or false is wanted"
        )
    timeout = _whole(given, "timeout", "microseconds from 1, or 0 for none, are wanted")
    level = _whole(given, "priority", ALLOWED, most=LEVELS)
    return Parameters(
        threshold=_number(given, "threshold"),
        priority=priority_of(level),
        seconds=timeout / 1e6 if timeout else None,
    )


def classes_wanted(given: Given, where: str) -> int | None:
    """Return how many of the highest values a requested output is to list; None for the tensor.

    Raises:
        BadInput: another parameter than `classification`, or not a whole number from 1.
    """
    for name in given:
        if name != "classification":
            raise BadInput(f"{where}: parameter {name!r}; only 'classification' is taken")
    if "classification" not in given:
        return None
    value = _value(given["classification"])
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{where}: parameter 'classification': {value!r}; a number from 1 is wanted")
    return value


def _value(parameter: pb.InferParameter) -> Any:
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def _number(given: Given, name: str) -> float | None:
    if name not in given:
        return None
    value = _value(given[name])
    try:
        if value is None or isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise BadInput(f"parameter {name!r}: {value!r}; a finite number is wanted") from None
    return number


def _whole(given: Given, name: str, wanted: str, most: int = sys.maxsize) -> int:
    number = _number(given, name)
    if number is None:
        return 0
    if not 0 <= number <= most or number != int(number):
        raise BadInput(f"parameter {name!r}: {number:g}; {wanted}")
    return int(number)
