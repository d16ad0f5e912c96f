"""Fitting Deep Validation: activations, one-class SVMs, calibration, and the detector's files."""

from offline.fitting.calibration import calibrate, calibrate_on, conformal_threshold
from offline.fitting.detector_files import load_detector, save_detector
from offline.fitting.fit import fit_deep_validation
from offline.fitting.settings import FitSettings

__all__ = [
    "FitSettings",
    "calibrate",
    "calibrate_on",
    "conformal_threshold",
    "fit_deep_validation",
    "load_detector",
    "save_detector",
]
