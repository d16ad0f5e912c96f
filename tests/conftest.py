"""What every test shares: two CPU threads, and array shapes checked where they are annotated."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

install_import_hook(["guard", "offline", "export"], "beartype.beartype")

import pytest
import torch

torch.set_num_threads(2)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of this machine: a test that takes it runs on the GPU where there is one."""
    return torch.device(request.param)
