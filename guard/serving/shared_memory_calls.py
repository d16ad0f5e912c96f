"""Shared memory: clients may ask for it, and are told that there is none."""

from typing import Any

from guard.errors import BadInput
from guard.serving.behaviours import Context
from guard.serving.metrics import Metrics
from guard.serving.protocol import extensions_pb2 as ext
from guard.serving.rejections import answer

__all__ = ["SharedMemoryCalls"]


class SharedMemoryCalls:
    """Part of `InferenceService`: no region is ever registered, so there is none to give up.

    `perf_analyzer` and others give up all regions before they begin, whether they use any or not.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def SystemSharedMemoryStatus(
        self, request: ext.SystemSharedMemoryStatusRequest, context: Context
    ) -> ext.SystemSharedMemoryStatusResponse:
        """List no regions."""
        return ext.SystemSharedMemoryStatusResponse()

    async def SystemSharedMemoryUnregister(
        self, request: ext.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> ext.SystemSharedMemoryUnregisterResponse:
        """Do nothing: the region is not there."""
        return ext.SystemSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryRegister(
        self, request: ext.SystemSharedMemoryRegisterRequest, context: Context
    ) -> ext.SystemSharedMemoryRegisterResponse:
        """Refuse."""
        await answer(_refuse, request, context, self._metrics)
        return ext.SystemSharedMemoryRegisterResponse()

    async def CudaSharedMemoryStatus(
        self, request: ext.CudaSharedMemoryStatusRequest, context: Context
    ) -> ext.CudaSharedMemoryStatusResponse:
        """List no regions."""
        return ext.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryUnregister(
        self, request: ext.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> ext.CudaSharedMemoryUnregisterResponse:
        """Do nothing: the region is not there."""
        return ext.CudaSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryRegister(
        self, request: ext.CudaSharedMemoryRegisterRequest, context: Context
    ) -> ext.CudaSharedMemoryRegisterResponse:
        """Refuse."""
        await answer(_refuse, request, context, self._metrics)
        return ext.CudaSharedMemoryRegisterResponse()


async def _refuse(request: Any, seconds: float | None) -> None:
    raise BadInput(
        f"region {request.name!r}: shared memory is not taken; send tensors in the messages"
    )
