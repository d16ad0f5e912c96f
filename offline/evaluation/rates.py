"""Shares of a count, with the band that chance alone explains."""

from dataclasses import dataclass

from scipy.stats import betabinom, binomtest

__all__ = ["FalseAlarms", "Rate", "false_alarm_band", "false_alarms", "rate"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """`count` of `total`, and the exact (Clopper-Pearson) 95 % interval of the true share."""

    count: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FalseAlarms:
    """Clean images that were called corner cases.

    `target` is the rate that the threshold was calibrated for; in 95 of 100 calibrations the
    realised rate lies in [`band_low`, `band_high`].
    """

    realised: Rate
    target: float
    band_low: float
    band_high: float
    within_band: bool


def rate(count: int, total: int) -> Rate | None:
    """Return the share with its interval; None when there is nothing to count."""
    if not total:
        return None
    interval = binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return Rate(count, total, count / total, float(interval.low), float(interval.high))


def false_alarms(count: int, total: int, target: float, calibration_size: int) -> FalseAlarms:
    """Hold the false alarms among `total` ≥ 1 clean images against the calibrated target."""
    realised = rate(count, total)
    if realised is None:
        raise ValueError("at least one clean image is wanted")
    low, high = false_alarm_band(target, calibration_size, total)
    return FalseAlarms(realised, target, low, high, low <= realised.value <= high)


def false_alarm_band(target: float, calibration_size: int, test_size: int) -> tuple[float, float]:
    """Return the central 95 % band of the realised false-alarm rate on `test_size` clean images.

    A split-conformal threshold at level α is the (n + 1 - r)-th smallest of n calibration scores,
    with r = ⌊α(n + 1)⌋. Over the draw of the calibration scores its true false-alarm rate follows
    Beta(r, n + 1 - r) (Vovk 2012, for scores without ties), so the number of false alarms follows
    the beta-binomial law. With r = 0 the threshold is infinite and nothing is ever called.
    """
    rank = int(target * (calibration_size + 1) + 1e-9)  # 0.07 * 100 is just above 7, 0.29 below 29
    if not rank:
        return 0.0, 0.0
    law = betabinom(test_size, rank, calibration_size + 1 - rank)
    tail = (1 - CONFIDENCE) / 2
    return float(law.ppf(tail)) / test_size, float(law.ppf(1 - tail)) / test_size
