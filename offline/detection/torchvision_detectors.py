"""torchvision's detectors behind the protocol: SSDLite, RetinaNet and Faster R-CNN."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from guard.errors import BadInput, nearest
from offline.detection.detector import Detector, Found, Truth, check_truths
from offline.models import load_weights

__all__ = ["NETWORKS", "TorchvisionDetector", "pretrained_detector", "torchvision_detector"]

NETWORKS = {
    "fasterrcnn_resnet50_fpn": "box_score_thresh",
    "retinanet_resnet50_fpn": "score_thresh",
    "ssdlite320_mobilenet_v3_large": "score_thresh",
}
"""The networks by torchvision's names, and what each calls the least score of a detection."""
LEAST_SCORE = 0.005
SAMPLING_SEED = 0


def torchvision_detector(
    network: str, classes: tuple[str, ...], size: tuple[int, int], weights: Path | None = None
) -> "TorchvisionDetector":
    """Return one of `NETWORKS` for these classes, with random weights or those of a file.

    Args:
        network: torchvision's name.
        classes: without the background.
        size: height and width that images are scaled to fit into. SSDLite's is 320 x 320.
        weights: a safetensors file, as `offline.models.save_weights` writes it.

    Raises:
        BadInput: there is no such network, or the weights do not fit it.
    """
    model = _built(network, size, num_classes=len(classes) + 1)
    detector = _KINDS[network](model, classes)
    if weights is not None:
        load_weights(detector, weights)
    return detector


def pretrained_detector(
    network: str, size: tuple[int, int], weights: str = "DEFAULT"
) -> "TorchvisionDetector":
    """Return one of `NETWORKS` with weights that torchvision downloads, and with their classes.

    Raises:
        BadInput: there is no such network, or no weights of that name.
    """
    _check_network(network)
    known = get_model_weights(network)
    if weights not in known.__members__:
        raise BadInput(f"no weights {weights!r} of {network}{nearest(weights, known.__members__)}")
    chosen = known[weights]
    model = _built(network, size, weights=chosen)
    return _KINDS[network](model, tuple(chosen.meta["categories"][1:]))


class TorchvisionDetector(Detector):
    """A detector of torchvision; label 0 of its own is the background, or not used.

    The scores of an object and of its class are one in these networks: `confidence` is the whole
    classification loss (of Faster R-CNN with that of the region proposals), `classification` is 0.
    """

    def __init__(self, model: nn.Module, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.model: Any = model
        self.classes = classes

    def losses(
        self, images: Float[Tensor, "batch 3 height width"], truths: Sequence[Truth]
    ) -> dict[str, Float[Tensor, " batch"]]:
        check_truths(images, truths, self.classes)
        targets = [{"boxes": boxes, "labels": labels + 1} for boxes, labels in truths]
        scaled, targets = self.model.transform(list(images), targets)
        features = self.model.backbone(scaled.tensors)
        rows = self._losses(scaled, features, targets)
        box, confidence = (torch.stack(part) for part in zip(*rows, strict=True))
        return {"box": box, "confidence": confidence, "classification": 0 * confidence}

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], least_score: float = LEAST_SCORE
    ) -> list[Found]:
        """Return what is found in each image: scores below 0.005 are left out in any case."""
        found = []
        for each in self.model(list(images)):
            kept = (each["scores"] >= least_score) & (each["labels"] > 0)
            boxes, labels, scores = (each[name][kept] for name in ("boxes", "labels", "scores"))
            order = scores.argsort(descending=True)
            found.append(Found(boxes[order], labels[order] - 1, scores[order]))
        return found

    @abstractmethod
    def _losses(
        self, scaled: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the losses of box and confidence of each image."""


class OneStage(TorchvisionDetector):
    """SSD and RetinaNet: one head predicts boxes and classes of a grid of anchors."""

    def _losses(
        self, scaled: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        levels = list(features.values())
        outputs = self.model.head(levels)
        anchors = self.model.anchor_generator(scaled, levels)
        judge = self.model if hasattr(self.model, "neg_to_pos_ratio") else self.model.head
        rows = []
        for i, (target, places) in enumerate(zip(targets, anchors, strict=True)):
            matched = places.new_full((len(places),), -1, dtype=torch.int64)
            if len(target["boxes"]):
                matched = self.model.proposal_matcher(box_iou(target["boxes"], places))
            own = {name: value[i : i + 1] for name, value in outputs.items()}
            losses = judge.compute_loss([target], own, [places], [matched])
            rows.append((losses["bbox_regression"], losses["classification"]))
        return rows


class TwoStages(TorchvisionDetector):
    """Faster R-CNN: regions are proposed, and a sample of them is judged.

    In eval mode the sample of an image is drawn from a fixed seed, so that its loss is a function
    of the image.
    """

    def _losses(
        self, scaled: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        rows = []
        for i, target in enumerate(targets):
            image = ImageList(scaled.tensors[i : i + 1], scaled.image_sizes[i : i + 1])
            own = {name: value[i : i + 1] for name, value in features.items()}
            with nullcontext() if self.training else _drawn_alike(image.tensors.device):
                rows.append(self._one(image, own, [target]))
        return rows

    def _one(
        self, image: ImageList, features: dict[str, Tensor], target: list[dict[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        stages = (self.model.rpn, self.model.roi_heads)
        before = [stage.training for stage in stages]
        for stage in stages:
            stage.training = True  # it alone, not the layers in it: what they keep stays as it is
        try:
            proposals, first = self.model.rpn(image, features, target)
            _, second = self.model.roi_heads(features, proposals, image.image_sizes, target)
        finally:
            for stage, mode in zip(stages, before, strict=True):
                stage.training = mode
        box = first["loss_rpn_box_reg"] + second["loss_box_reg"]
        return box, first["loss_objectness"] + second["loss_classifier"]


_KINDS: dict[str, type[TorchvisionDetector]] = {
    name: TwoStages if name.startswith("fasterrcnn") else OneStage for name in NETWORKS
}


def _built(network: str, size: tuple[int, int], **options: Any) -> nn.Module:
    _check_network(network)
    options[NETWORKS[network]] = LEAST_SCORE
    if not network.startswith("ssdlite"):
        options |= {"min_size": min(size), "max_size": max(size)}
    built: nn.Module = get_model(network, weights_backbone=None, **options)
    return built


def _check_network(network: str) -> None:
    if network not in NETWORKS:
        raise BadInput(f"no detector {network!r}{nearest(network, NETWORKS)}")


@contextmanager
def _drawn_alike(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SAMPLING_SEED)
        yield
