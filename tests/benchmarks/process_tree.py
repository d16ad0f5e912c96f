"""What a process and all that it started use, as Linux tells it: CPU time and memory."""

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["ProcessTree"]

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PARENT, TIMES = 1, slice(11, 15)
"""Where `stat` has them, counted from the state, which follows the name."""


class ProcessTree(NamedTuple):
    """A process and its descendants, whichever live when it is asked."""

    root: int

    def descendants(self) -> list[int]:
        """Return the processes below the root, parents first."""
        below: dict[int, list[int]] = {}
        for folder in PROC.iterdir():
            if folder.name.isdigit() and (stat := _stat(int(folder.name))):
                below.setdefault(int(stat[PARENT]), []).append(int(folder.name))
        found = [self.root]
        for process in found:
            found.extend(below.get(process, []))
        return found[1:]

    def cpu_seconds(self) -> float:
        """Return user and system time of the living, and of the dead whom a parent waited for."""
        stats = (_stat(process) for process in (self.root, *self.descendants()))
        return sum(int(time) for stat in stats for time in stat[TIMES]) / TICKS

    def memory_bytes(self) -> int:
        """Return the proportional set sizes, so that memory which is shared counts once."""
        return sum(map(_memory, (self.root, *self.descendants())))


def _stat(process: int) -> list[str]:
    """Return the fields that follow the process's name; none if it is gone."""
    try:
        return (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _memory(process: int) -> int:
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
