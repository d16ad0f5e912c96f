"""A guarded classifier compiled ahead of time by AOTInductor (.aot.pt2), for libtorch hosts."""

import shutil
from pathlib import Path

import torch
from torch._inductor import config
from torch._inductor.exc import InductorError
from torch._inductor.runtime.cache_dir_utils import cache_dir

from export.archive import forget_places
from export.capture import Captured
from export.parity import full_float32
from export.quiet import upstream_quiet
from guard.errors import CornerguardError

__all__ = ["export_aot_inductor", "require_compiler"]


def export_aot_inductor(captured: Captured, path: Path) -> None:
    """Compile the model for the device that it is on, and write the package.

    `torch._inductor.aoti_load_package(path)(images, threshold)` runs it in Python, and
    `torch::inductor::AOTIModelPackageLoader` in C++, to a plain tuple in the order of
    `GuardedOutput`. It is machine code: it runs on processors and GPUs like this machine's.

    Args:
        captured: the model, on the device that it is to run on.
        path: the file to write; its name ends in .pt2.

    Raises:
        CornerguardError: there is no C++ compiler, or the model cannot be compiled.
    """
    require_compiler()
    try:
        with upstream_quiet(), full_float32():
            torch._inductor.aoti_compile_and_package(captured.program, package_path=str(path))
    except (InductorError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CornerguardError(f"the model does not compile with AOTInductor: {reason}") from None
    # The source and its command line, and where the compiler found what its lines came from.
    forget_places(path, dropped=[".cpp"], places=[Path(torch.__file__).parent, Path(cache_dir())])


def require_compiler() -> None:
    """Refuse to go on without the C++ compiler that AOTInductor calls.

    Raises:
        CornerguardError: none of its compilers is found.
    """
    names = [name for name in config.cpp.cxx if name]
    if not any(shutil.which(name) for name in names):
        raise CornerguardError(
            f"aot_inductor: no C++ compiler is found ({', '.join(names)}); install one, name it in "
            "the environment variable CXX, or leave aot_inductor out of the formats"
        )
