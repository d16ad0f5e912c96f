"""What of NVIDIA's driver ONNX Runtime does not offer: pinned host memory, and a sign of life."""

import ctypes
import logging

from guard.serving.providers import DeviceMissing

__all__ = ["CudaDriver"]

log = logging.getLogger(__name__)
PORTABLE = 1  # CU_MEMHOSTREGISTER_PORTABLE: pinned for every context of this process


class CudaDriver:
    """The primary context of the first GPU, which is also ONNX Runtime's.

    A GPU reads pinned memory by itself; any other is first copied to where it can.

    Args:
        library: the driver's shared library.

    Raises:
        DeviceMissing: there is no driver, or no GPU that it can use.
    """

    def __init__(self, library: str = "libcuda.so.1") -> None:
        try:
            self._driver = ctypes.CDLL(library)
        except OSError as error:
            raise DeviceMissing(f"{library}: {error}") from None
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._require("cuInit", 0)
        self._require("cuDeviceGet", ctypes.byref(device), 0)
        self._require("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._require("cuCtxSetCurrent", context)

    def pin(self, address: int, size: int) -> None:
        """Pin mapped memory; where the system does not allow so much, copies are only slower."""
        code = self._call("cuMemHostRegister_v2", _pointer(address), _size(size), PORTABLE)
        if code:
            log.warning("%s bytes of host memory could not be pinned: CUDA error %s", size, code)

    def unpin(self, address: int) -> None:
        """Undo `pin`, before the memory is unmapped; nothing happens if it was not pinned."""
        self._call("cuMemHostUnregister", _pointer(address))

    def answers(self) -> bool:
        """Whether the context still works; after some errors none in this process ever will."""
        return self._call("cuCtxSynchronize") == 0

    def _require(self, function: str, *arguments: object) -> None:
        code = self._call(function, *arguments)
        if code:
            raise DeviceMissing(f"the NVIDIA driver: {function} gives CUDA error {code}")

    def _call(self, function: str, *arguments: object) -> int:
        return int(getattr(self._driver, function)(*arguments))


def _pointer(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)


def _size(size: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(size)
