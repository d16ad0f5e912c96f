"""The report's charts of scores: ROC curves, histograms, single validators."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from offline.evaluation.detection import Detection, Roc
from offline.evaluation.plots import COLOURS, DASHES, Theme

__all__ = ["plot_histogram", "plot_roc", "plot_validators"]

BINS = 200  # Figure 3.3
MOST_LAYERS = 18


def plot_roc(
    curves: dict[str, Roc], alarm_rate: float, furthest: float
) -> Callable[[Axes, Theme], None]:
    """Draw ROC curves up to a false-alarm rate of `furthest`, and the realised one as a line."""

    def fill(axes: Axes, theme: Theme) -> None:
        named = [(name, curve) for name, curve in curves.items() if name != "overall"]
        for number, (name, curve) in enumerate(named):
            axes.plot(
                curve.false_alarm_rate,
                curve.detection_rate,
                color=COLOURS.get(name, theme.muted),
                linestyle=DASHES[number % len(DASHES)],
                label=f"{name}  {curve.auc:.3f}",
            )
        whole = curves["overall"]
        axes.plot(
            whole.false_alarm_rate,
            whole.detection_rate,
            color=theme.ink,
            linewidth=2.6,
            label=f"overall  {whole.auc:.3f}",
        )
        axes.axvline(alarm_rate, color=theme.muted, linestyle=":", linewidth=1.2)
        axes.set(xlim=(-0.01 * furthest, furthest), ylim=(0, 1.02))
        axes.set(xlabel="false-alarm rate on clean images", ylabel="detection rate of SCCs")
        if furthest == 1:
            axes.plot([0, 1], [0, 1], color=theme.grid, linewidth=1)
            axes.legend(loc="lower right", title="area under the curve", labelspacing=0.3)
        else:
            axes.text(
                alarm_rate + 0.015 * furthest, 0.03, "at the threshold", color=theme.muted, size=8.2
            )

    return fill


def plot_histogram(detection: Detection, threshold: float | None) -> Callable[[Axes, Theme], None]:
    """Draw the joint discrepancy of clean images, SCCs and FCCs in 200 bins (Figure 3.3)."""
    groups = {
        "clean": detection.clean_scores,
        "FCC": np.concatenate([np.zeros(0), *detection.failed_scores.values()]),
        "SCC": np.concatenate([np.zeros(0), *detection.successful_scores.values()]),
    }
    edges = np.linspace(*_span([*groups.values()], threshold), BINS + 1)
    words = {
        "clean": "clean images",
        "SCC": "successful corner cases",
        "FCC": "failed corner cases",
    }

    def fill(axes: Axes, theme: Theme) -> None:
        for name, scores in groups.items():
            if not len(scores):
                continue
            inside = np.clip(scores, edges[0], edges[-1])
            axes.hist(
                inside,
                edges.tolist(),
                weights=np.full(len(scores), 1 / len(scores)),
                histtype="stepfilled",
                color=COLOURS[name],
                alpha=0.6,
                label=f"{words[name]} ({len(scores)})",
            )
        if threshold is not None:
            axes.axvline(threshold, color=theme.ink, linestyle="--", linewidth=1.2)
            axes.annotate(
                " threshold ",
                (threshold, 0.99),
                xycoords=("data", "axes fraction"),
                ha="right" if threshold < edges.mean() else "left",
                va="top",
                size=8.2,
            )
        axes.set(xlabel="joint discrepancy", ylabel="share of images per bin")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
        axes.legend(
            loc="upper right" if threshold is None or threshold < edges.mean() else "upper left"
        )

    return fill


def plot_validators(detection: Detection) -> Callable[[Axes, Theme], None]:
    """Draw the area of each single validator, by transformation and overall (Table 3.6)."""

    def fill(axes: Axes, theme: Theme) -> None:
        names = [*detection.layers, "joint"]
        rows = np.arange(len(names))
        for entry in (*detection.corner_cases, detection.overall):
            areas = np.array([*entry.auc_by_layer, entry.auc], dtype=float)
            whole = entry is detection.overall
            axes.plot(
                areas,
                rows,
                color=theme.ink if whole else COLOURS.get(entry.name, theme.muted),
                marker="D" if whole else "o",
                markersize=6 if whole else 4,
                linestyle="",
                label=entry.name,
                zorder=3 if whole else 2,
            )
        step = -(-len(names) // MOST_LAYERS)
        shown = [*rows[:-1:step], rows[-1]]
        axes.set_yticks(shown, [_plain(names[row]) for row in shown])
        axes.grid(visible=True, axis="y")
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("area under the ROC curve, SCCs")
        axes.figure.legend(
            loc="outside upper center", ncols=4, columnspacing=1.2, handletextpad=0.1
        )

    return fill


def _span(
    groups: Sequence[Float[np.ndarray, " _"]], threshold: float | None
) -> tuple[float, float]:
    """Leave the outermost thousandths to the edge bins, so that one outlier squeezes nothing."""
    known = np.concatenate([*groups, [] if threshold is None else [threshold]])
    low, high = np.quantile(known, [0.001, 0.995])
    margin = 0.02 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _plain(name: str, most: int = 22) -> str:
    """Keep to letters that the chart's typeface has, and to the end of a long name."""
    text = name.encode("ascii", "replace").decode()
    return text if len(text) <= most else f"…{text[1 - most :]}"
