"""Scenes rendered by Mitsuba 3; needs the extra `mitsuba` and, on the CPU, libLLVM."""

from offline.rendering.mitsuba.llvm import missing
from offline.rendering.mitsuba.renderer import Mitsuba

__all__ = ["Mitsuba", "missing"]
