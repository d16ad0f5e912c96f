"""Object detectors behind one protocol, and streets with boxes to train and measure them on."""

from offline.detection.anchors import fit_shapes
from offline.detection.detection_set import (
    DetectionImages,
    StreetImages,
    StreetSetSettings,
    render_streets,
    truths_of,
)
from offline.detection.detector import Detector, Found, Truth
from offline.detection.evaluation import DetectionScores, evaluate_detector, score_detections
from offline.detection.squeezedet import SqueezeDet
from offline.detection.torchvision_detectors import (
    TorchvisionDetector,
    pretrained_detector,
    torchvision_detector,
)
from offline.detection.training import mirrored, train_detector

__all__ = [
    "DetectionImages",
    "DetectionScores",
    "Detector",
    "Found",
    "SqueezeDet",
    "StreetImages",
    "StreetSetSettings",
    "TorchvisionDetector",
    "Truth",
    "evaluate_detector",
    "fit_shapes",
    "mirrored",
    "pretrained_detector",
    "render_streets",
    "score_detections",
    "torchvision_detector",
    "train_detector",
    "truths_of",
]
