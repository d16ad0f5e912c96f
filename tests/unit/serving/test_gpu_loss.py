"""A lost GPU is told from a bad image, and host memory is pinned, by what the driver says."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from guard.bundle import load_bundle
from guard.serving import engine as engine_module
from guard.serving.cuda_driver import CudaDriver
from guard.serving.engine import Engine
from guard.serving.graph import read_graph
from guard.serving.providers import DeviceMissing, choose, listed
from tests.unit.serving.tiny_bundle import expected_score, image_of, write_bundle

DRIVER = """
#include <stddef.h>
static int failing = 0, pinned = 0;
static void *address = 0;
static size_t length = 0;
void set_failing(int code) { failing = code; }
int pinned_now(void) { return pinned; }
int cuInit(unsigned flags) { return failing; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return failing; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &failing; return failing; }
int cuCtxSetCurrent(void *context) { return context == &failing ? failing : 201; }
int cuCtxSynchronize(void) { return failing; }
int cuMemHostRegister_v2(void *at, size_t size, unsigned flags) {
  if (address || flags != 1) return 712;
  address = at; length = size; pinned++;
  return failing;
}
int cuMemHostUnregister(void *at) {
  if (at != address) return 713;
  address = 0; pinned--;
  return failing;
}
size_t pinned_bytes(void) { return length; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared library with the driver's entry points, which fail when they are told to."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    built = folder / "libdriver.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(built), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return built


@pytest.fixture
def engine(tmp_path: Path, device: torch.device) -> Engine:
    graph = read_graph(load_bundle(write_bundle(tmp_path / "tiny")))
    return Engine(graph, threads=1, accelerator=device.type)


def test_the_engine_runs_where_it_is_told(engine: Engine, device: torch.device) -> None:
    assert engine.device == device.type
    assert (engine.driver is None) == (device.type == "cpu")
    images = np.stack([image_of(level) for level in (0.2, 0.5, 0.8)])
    judged = engine.run(images, 0.0)
    np.testing.assert_allclose(judged.outputs.score, expected_score(images), atol=1e-5)


def test_memory_is_pinned_and_released(library: Path) -> None:
    driver, raw = CudaDriver(str(library)), ctypes.CDLL(str(library))
    array = np.zeros(1000, np.float32)
    driver.pin(array.ctypes.data, array.nbytes)
    assert raw.pinned_now() == 1
    assert raw.pinned_bytes() == 4000
    driver.unpin(array.ctypes.data)
    assert raw.pinned_now() == 0


def test_memory_that_cannot_be_pinned_is_only_warned_of(
    library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver, array = CudaDriver(str(library)), np.zeros(10, np.float32)
    driver.pin(array.ctypes.data, 40)
    driver.pin(array.ctypes.data, 40)
    assert "40 bytes of host memory could not be pinned: CUDA error 712" in caplog.text
    driver.unpin(array.ctypes.data)


def test_a_driver_that_is_missing_or_fails_is_named(library: Path) -> None:
    with pytest.raises(DeviceMissing, match=r"libnone\.so"):
        CudaDriver("libnone.so")
    raw = ctypes.CDLL(str(library))
    raw.set_failing(100)
    with pytest.raises(DeviceMissing, match="cuInit gives CUDA error 100"):
        CudaDriver(str(library))
    raw.set_failing(0)


def test_an_error_is_the_devices_by_its_words_or_by_the_driver(
    library: Path, engine: Engine
) -> None:
    assert engine.driver or not engine.lost(RuntimeError("CUDA failure 700: illegal address"))
    engine.driver, raw = CudaDriver(str(library)), ctypes.CDLL(str(library))
    words = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=edge"
    for message in (words, "CUDNN failure 5000: X", "CUBLAS failure 13: Y", "CUDA error cuda:719"):
        assert engine.lost(RuntimeError(message)), message
    bad_image = RuntimeError("running Gather node: indices element out of data bounds, idx=1")
    assert not engine.lost(bad_image)
    raw.set_failing(719)  # an error that stays with the context, whatever was said
    assert engine.lost(bad_image)
    raw.set_failing(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_never_replaced_by_the_cpu(
    tmp_path: Path, accelerator: str
) -> None:
    with pytest.raises(DeviceMissing, match=f"^{accelerator}: "):
        choose(accelerator)
    assert choose("auto") == choose("cpu") == "CPUExecutionProvider"


@pytest.mark.skipif(
    torch.cuda.is_available() or "CUDAExecutionProvider" not in listed(),
    reason="needs CUDA in ONNX Runtime, and no GPU",
)
def test_a_session_that_leaves_the_gpu_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself would go on with the CPU."""
    monkeypatch.setattr(engine_module, "choose", lambda accelerator: "CUDAExecutionProvider")
    graph = read_graph(load_bundle(write_bundle(tmp_path / "tiny")))
    with pytest.raises(DeviceMissing, match=r"^cuda: "):
        Engine(graph, accelerator="cuda")
