"""How the report's charts look, in light and dark, and those of values by epoch and strength."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from offline.evaluation.distortion import DistortionCurve
from offline.evaluation.report_data import TrainingCurve

__all__ = [
    "COLOURS",
    "DARK",
    "DASHES",
    "HEIGHT",
    "LIGHT",
    "WIDTH",
    "Theme",
    "draw",
    "plot_distortion",
    "plot_training",
]

WIDTH, HEIGHT = 480, 340  # in CSS pixels; the files have twice as many

# One colour for one thing throughout; told apart without red and green (after Okabe and Ito).
COLOURS = {
    "brightness": "#d99a00",
    "contrast": "#8c6bb1",
    "complement": "#8a8a8a",
    "rotation": "#1f78b4",
    "shear": "#009e73",
    "scale": "#cc6699",
    "translation": "#45a9dd",
    "combined": "#d55e00",
    "clean": "#3b82c4",
    "SCC": "#d1495b",
    "FCC": "#e2a32b",
}
SERIES = ["#1f78b4", "#d55e00", "#009e73", "#cc6699", "#8c6bb1", "#d99a00"]
STRENGTHS = {
    "brightness": "bias β",
    "contrast": "gain α",
    "rotation": "angle θ in degrees",
    "shear": "shear ratios s_h = s_v",
    "scale": "scale ratios s_x = s_y",
    "translation": "shifts T_x = T_y in pixels",
}
DASHES = ["-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5))]


@dataclass(frozen=True)
class Theme:
    """Colours of text, of lines behind the data, and of the paper."""

    name: str
    ink: str
    muted: str
    grid: str
    paper: str


LIGHT = Theme("light", "#1c2530", "#5b6673", "#e3e7ec", "#ffffff")
DARK = Theme("dark", "#e6eaf0", "#a3afbd", "#2f3843", "#171c23")


def draw(fill: Callable[[Axes, Theme], None], theme: Theme) -> Figure:
    """Return a chart of the report's size and style that `fill` has drawn into."""
    style: dict[Any, Any] = {
        "font.size": 8.6,  # 12 CSS pixels
        "text.parse_math": False,  # a dollar sign in a name is no formula
        "text.color": theme.ink,
        "axes.labelcolor": theme.muted,
        "axes.edgecolor": theme.grid,
        "axes.facecolor": theme.paper,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "xtick.color": theme.grid,
        "ytick.color": theme.grid,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "legend.frameon": False,
        "legend.fontsize": 8.2,
        "legend.labelcolor": theme.ink,
        "lines.linewidth": 1.6,
    }
    with mpl.rc_context(style):
        figure = Figure(
            figsize=(WIDTH / 100, HEIGHT / 100),
            dpi=200,
            layout="constrained",
            facecolor=theme.paper,
        )
        fill(figure.add_subplot(), theme)
        figure.canvas.draw()
    return figure


def plot_distortion(
    curve: DistortionCurve, alarm_rate: float | None
) -> Callable[[Axes, Theme], None]:
    """Draw detection of SCCs and FCCs and the success rate by strength (Figure 3.4)."""

    def fill(axes: Axes, theme: Theme) -> None:
        strengths = [
            point.configuration[0] if point.configuration else 1.0 for point in curve.points
        ]
        lines = {
            "SCCs detected": ([p.detected for p in curve.points], COLOURS["SCC"], "o"),
            "FCCs detected": ([p.detected_failed for p in curve.points], COLOURS["FCC"], "s"),
        }
        for label, (rates, colour, marker) in lines.items():
            known = [(x, r) for x, r in zip(strengths, rates, strict=True) if r is not None]
            places = [x for x, _ in known]
            axes.fill_between(
                places,
                [r.low for _, r in known],
                [r.high for _, r in known],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(
                places,
                [r.value for _, r in known],
                color=colour,
                marker=marker,
                markersize=4,
                label=label,
            )
        axes.plot(
            strengths,
            [point.success_rate for point in curve.points],
            color=theme.muted,
            linestyle="--",
            label="misclassified",
        )
        if alarm_rate is not None:
            axes.axhline(
                alarm_rate, color=theme.muted, linestyle=":", linewidth=1.2, label="false alarms"
            )
        axes.set(
            ylim=(-0.03, 1.05),
            xlabel=STRENGTHS.get(curve.name, curve.name),
            ylabel="share of images",
        )
        if strengths[0] > strengths[-1]:  # a shrinking ratio grows in distortion
            axes.invert_xaxis()
        axes.figure.legend(loc="outside upper center", ncols=4, columnspacing=1.2, handlelength=1.6)

    return fill


def plot_training(curve: TrainingCurve) -> Callable[[Axes, Theme], None]:
    """Draw each series by epoch."""

    def fill(axes: Axes, theme: Theme) -> None:
        for number, (name, values) in enumerate(curve.series.items()):
            epochs = np.arange(1, len(values) + 1)
            marker = "o" if len(values) <= 30 else ""
            colour = SERIES[number % len(SERIES)]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, label=name)
        axes.set(xlabel="epoch", ylabel=curve.quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(curve.series) > 1:
            axes.legend()

    return fill
