"""Figures as a reader sees them; a dash where there is none."""

__all__ = ["area", "percent", "size"]


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share: `12.5%`."""
    return "–" if value is None else f"{value:.{digits}%}"


def area(value: float | None) -> str:
    """Write an area under a ROC curve: `0.9812`."""
    return "–" if value is None else f"{value:.4f}"


def size(count: int) -> str:
    """Write a number of bytes: `1.5 MB`."""
    shown = float(count)
    for unit in ("B", "kB", "MB"):
        if shown < 1000:
            return f"{shown:.3g} {unit}"
        shown /= 1000
    return f"{shown:.3g} GB"
