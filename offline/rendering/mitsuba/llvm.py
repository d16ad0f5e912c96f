"""Finding the LLVM that Dr.Jit, Mitsuba's compiler, generates code for the CPU with."""

import ctypes
import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path

from guard.errors import CornerguardError

__all__ = ["OLDEST", "find_llvm", "missing"]

OLDEST = 17
"""LLVM 15 and 16 end the process ("Cannot select: fmaximum") on x86-64; 19 was seen to work."""

_VARIABLE = "DRJIT_LIBLLVM_PATH"
_FOLDERS = ("usr/lib", "usr/lib64", "usr/local/lib", "usr/lib/llvm*/lib", "opt/homebrew/opt/*/lib")
_NAME = re.compile(r"libLLVM(?:-(\d+)[\d.]*)?\.(?:so|dylib)(?:\.(\d+)[\d.]*)?")


def find_llvm(candidates: Iterable[Path] | None = None) -> Path:
    """Return the newest libLLVM of this machine, or the one that DRJIT_LIBLLVM_PATH names.

    Args:
        candidates: libraries to choose from instead.

    Raises:
        CornerguardError: there is none, or only such as would end the process.
    """
    if candidates is None:
        named = os.environ.get(_VARIABLE)
        candidates = [Path(named)] if named else _installed()
    versions = {path: _version(path) for path in candidates}
    newest = max(versions, key=lambda path: versions[path], default=None)
    if newest is not None and versions[newest] >= OLDEST:
        return newest
    found = f", {newest} is older or cannot be loaded" if newest else ""
    raise CornerguardError(
        f"Mitsuba compiles for the CPU by LLVM {OLDEST} or newer, which is missing{found}: "
        f"`apt install libllvm19` provides it, {_VARIABLE} names one that is elsewhere"
    )


def missing() -> str | None:
    """Say what Mitsuba lacks on this machine's CPU, and what to do; None: nothing."""
    if importlib.util.find_spec("mitsuba") is None:
        return "Mitsuba is not installed: `pip install 'cornerguard[mitsuba]'` provides it"
    try:
        find_llvm()
    except CornerguardError as error:
        return str(error)
    return None


def _installed() -> list[Path]:
    """Return one path of each library, which goes by several names."""
    folders = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
    for pattern in _FOLDERS:
        folders += [*Path("/").glob(pattern), *Path("/").glob(f"{pattern}/*-linux-gnu")]
    paths = {path.resolve() for folder in folders for path in folder.glob("libLLVM*")}
    return sorted(path for path in paths if path.is_file() and _NAME.fullmatch(path.name))


def _version(path: Path) -> int:
    """Return the major version by the file's name or, of one without, by its own word; 0: none."""
    name = _NAME.fullmatch(path.name)
    number = (name[1] or name[2]) if name else None
    if number and path.is_file():
        return int(number)
    try:
        ask = ctypes.CDLL(str(path)).LLVMGetVersion  # since LLVM 16
    except (OSError, AttributeError):
        return 0
    version = ctypes.c_uint(0)
    ask(ctypes.byref(version), None, None)
    return version.value
