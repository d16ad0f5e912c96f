"""Which renderers this machine can run, and what is missing for the others."""

import importlib
import importlib.util

__all__ = ["engines"]

_OPTIONAL = {"mitsuba": "offline.rendering.mitsuba", "redner": "offline.rendering.redner"}


def engines() -> dict[str, str | None]:
    """Return the renderers by name with what is missing and what to do; None: ready.

    Each engine's module has a function `missing` that says so. It is imported only here.
    """
    states: dict[str, str | None] = {"rasterizer": None}
    for name, module in _OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            states[name] = importlib.import_module(module).missing()
    return states
