"""Images into requests, answers into verdicts."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput
from guard.serving.priorities import priority_of
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.verdict import VERDICTS, Name, Verdict

__all__ = ["Image", "check_request", "known", "put_image", "verdict_of"]

Image = bytes | Path | NDArray[Any]
"""A JPEG or PNG file, as bytes or by its path; or an array `[channel, height, width]` of float32 or
float16 in [0, 1] or of uint8, in the model's size."""
DATATYPES: Final = {
    np.dtype(np.float32): "FP32",
    np.dtype(np.float16): "FP16",
    np.dtype(np.uint8): "UINT8",
}


def check_request(
    image: Image, model: str, threshold: float | None, priority: int
) -> pb.CheckRequest:
    """Return the request for a verdict.

    Raises:
        BadInput: the file cannot be read, the array is of another type, or there is no such
            priority.
    """
    priority_of(priority)  # so that what it refuses is refused here
    request = pb.CheckRequest(model=model, threshold=threshold, priority=priority)
    put_image(request, image)
    return request


def put_image(message: pb.CheckRequest | pb.Frame, image: Image) -> None:
    """Set the image of a message.

    Raises:
        BadInput: the file cannot be read, or the array is of another type.
    """
    if isinstance(image, np.ndarray):
        datatype = DATATYPES.get(image.dtype)
        if datatype is None:
            raise BadInput(f"image: type {image.dtype}; allowed are float32, float16 and uint8")
        message.tensor.CopyFrom(
            pb.Tensor(datatype=datatype, shape=image.shape, data=image.tobytes())
        )
    elif isinstance(image, Path):
        try:
            message.encoded = image.read_bytes()
        except OSError as error:
            raise BadInput(f"{image}: cannot be read: {error.strerror}") from None
    else:
        message.encoded = image


def verdict_of(response: pb.CheckResponse) -> Verdict:
    """Return the verdict that an answer has."""
    return Verdict(
        verdict=known(response.verdict),
        label=response.label,
        class_name=response.class_name,
        confidence=response.confidence,
        score=response.score,
        p_value=response.p_value,
        threshold=response.threshold,
        discrepancy={item.layer: item.discrepancy for item in response.discrepancy},
        reason=response.reason,
    )


def known(number: int) -> Name:
    """Return the name of a verdict; a number that this client does not know is no pass either."""
    return VERDICTS[number] if 0 <= number < len(VERDICTS) else "UNVERIFIED"
