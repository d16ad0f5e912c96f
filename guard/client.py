"""A client of the server: one image in, one verdict out."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput, CornerguardError
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.verdict import VERDICTS, Verdict

__all__ = ["GuardClient"]

# gRPC itself retries, within the deadline, what a retry can cure. CANCELLED is among it: this
# client cancels nothing, so it is what a server in its last moments says of a call it did not take.
_RETRY = {
    "methodConfig": [
        {
            "name": [{"service": "guard.v1.GuardService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_RETRY)),
    ("grpc.max_send_message_length", -1),  # the server's limit counts
]
_DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float16): "FP16", np.dtype("u1"): "UINT8"}


class GuardClient:
    """A connection to a server, to be used as a context manager and from any thread.

    Args:
        target: `HOST:PORT`; the connection is not encrypted.
        model: the model's name; may be empty if the server has only one.
    """

    def __init__(self, target: str, model: str = "") -> None:
        self._target, self._model = target, model
        self._channel = grpc.insecure_channel(target, _OPTIONS)
        self._check = GuardServiceStub(self._channel).Check  # type: ignore[no-untyped-call]

    def check(
        self,
        image: bytes | Path | NDArray[Any],
        threshold: float | None = None,
        timeout: float = 10.0,
    ) -> Verdict:
        """Return the verdict on one image.

        Args:
            image: a JPEG or PNG file, as bytes or by its path; or an array `[channel, height,
                width]` of float32 or float16 in [0, 1] or of uint8, in the model's size.
            threshold: of the joint discrepancy; None for the calibrated one.
            timeout: seconds, with all retries.

        Raises:
            BadInput: the image or the threshold is not allowed, or there is no such model.
            CornerguardError: the server cannot be reached, is overloaded, or too slow.
        """
        request = pb.CheckRequest(model=self._model, threshold=threshold)
        if isinstance(image, np.ndarray):
            request.tensor.CopyFrom(_tensor(image))
        else:
            request.encoded = _read(image) if isinstance(image, Path) else image
        try:
            response: pb.CheckResponse = self._check(request, timeout=timeout)
        except grpc.RpcError as error:
            raise _explain(error, self._target) from None
        return _verdict(response)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> "GuardClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _tensor(array: NDArray[Any]) -> pb.Tensor:
    datatype = _DATATYPES.get(array.dtype)
    if datatype is None:
        raise BadInput(f"image: type {array.dtype}; allowed are float32, float16 and uint8")
    return pb.Tensor(datatype=datatype, shape=array.shape, data=array.tobytes())


def _verdict(response: pb.CheckResponse) -> Verdict:
    # A number that this client does not know must not become a pass either.
    known = 0 <= response.verdict < len(VERDICTS)
    return Verdict(
        verdict=VERDICTS[response.verdict] if known else "UNVERIFIED",
        label=response.label,
        class_name=response.class_name,
        confidence=response.confidence,
        score=response.score,
        p_value=response.p_value,
        threshold=response.threshold,
        discrepancy={item.layer: item.discrepancy for item in response.discrepancy},
        reason=response.reason,
    )


def _explain(error: grpc.RpcError, target: str) -> CornerguardError:
    code, details = error.code(), " ".join((error.details() or "").split())
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
        return BadInput(details)
    return CornerguardError(f"{target}: {code.name}: {details}")
