"""Which id a request gets, and what is not taken as one."""

import contextvars

import pytest

from guard.serving.protocol.guard_pb2 import CheckRequest
from guard.serving.protocol.inference_pb2 import ModelInferRequest, ServerLiveRequest
from guard.serving.request_ids import begin, current

CHECK = CheckRequest(request_id="frame 7")


@pytest.mark.parametrize(
    ("metadata", "message", "wanted"),
    [
        ((("x-request-id", "a-1"),), CHECK, "a-1"),
        ((("user-agent", "b"),), CHECK, "frame 7"),
        (None, ModelInferRequest(id="9"), "9"),
        ((("x-request-id", "x" * 129),), CHECK, "frame 7"),
        ((("x-request-id", "a\nb"),), CHECK, "frame 7"),
        ((("x-request-id", b"a"),), CHECK, "frame 7"),
    ],
)
def test_the_callers_own_id_is_kept(metadata: tuple, message: object, wanted: str) -> None:
    def chosen() -> tuple[str, str]:
        return begin(metadata, message), current()

    assert contextvars.copy_context().run(chosen) == (wanted, wanted)
    assert current() == ""


@pytest.mark.parametrize(
    "message", [CheckRequest(), CheckRequest(request_id="ü\n"), ServerLiveRequest(), object()]
)
def test_else_one_is_made_up(message: object) -> None:
    first, second = (contextvars.copy_context().run(begin, (), message) for _ in range(2))
    assert first != second
    assert len(first) == 16
    assert first.isalnum()
