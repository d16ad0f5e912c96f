"""Where a benchmark's figures come from: machine, versions, command."""

import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["provenance"]

PACKAGES = ("torch", "torchvision", "scikit-learn", "scipy", "numpy", "pytorch-ood")


def provenance() -> dict[str, Any]:
    """Return what is needed to run a benchmark again, as values that JSON knows."""
    return {
        "command": shlex.join(["python", "-m", f"tests.benchmarks.{Path(sys.argv[0]).stem}"])
        + "".join(f" {shlex.quote(argument)}" for argument in sys.argv[1:]),
        "machine": {
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
