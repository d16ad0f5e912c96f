"""The toolchain, `offline` and `export`: an edge box has none, so it is imported by name alone."""

import importlib
import os
from typing import Any

from guard.errors import BadInput

__all__ = ["toolchain"]


def toolchain(module: str) -> Any:
    """Import a module of the toolchain, when a command first needs it.

    Raises:
        BadInput: a package that it stands on is not installed.
    """
    # OpenMP threads that wait by spinning starve each other on machines of few or shared cores:
    # rendering was seen to slow down fivefold. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"offline", "export", "guard"}:
            raise
        raise BadInput(
            f"this command needs the whole toolchain ({error.name} is missing): "
            "pip install 'cornerguard[offline]'"
        ) from None
