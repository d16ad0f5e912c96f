"""The search for semantic counterexamples of a detector: scenes move until it misses vehicles."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from guard.errors import BadInput
from guard.progress import track
from offline.attacks import Judgement, held_still
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.scene_ascent import Feasible, Project, Reached, View, move_scenes
from offline.counterexamples.streets.detection_found import DetectionCounterexamples
from offline.counterexamples.streets.feasible import every
from offline.detection import Detector, Found, Truth
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["TruthsOf", "attack_detector", "missed"]

TruthsOf = Callable[[Scene], list[Truth]]
"""Scenes to the objects that count in the image of each, where they are now."""

IOU = 0.5
LEAST_SCORE = 0.005  # of what is kept for precision and recall


def attack_detector(
    renderer: Renderer,
    detector: Detector,
    scenes: Scene,
    truths_of: TruthsOf,
    settings: AttackSettings,
    *,
    feasible: Sequence[Feasible] = (),
    project: Project | None = None,
    threshold: float = 0.3,
    until: Literal["end", "missed"] = "end",
    batch_size: int = 8,
) -> DetectionCounterexamples:
    """Raise the detector's `doubt` in each scene: what its confidences have wrong (001, section 5).

    It is against the boxes of the moved objects: they are taken anew at every look, without a
    gradient. A scene is a success where the detector misses more of its objects after than
    before; one of whose objects it finds none from the start is left alone and reported apart. A
    set of `feasible` that a scene lies outside of from the start does not hold for this scene.

    Args:
        renderer: makes images of scenes, differentiable in the features that are moved.
        detector: in eval mode, on the device of the scenes.
        scenes: where the attack starts.
        truths_of: the objects that are to be detected.
        settings: the attack; its `loss` and `target` are a classifier's, and sCW is not possible.
        feasible: sets of scenes; a step out of one of them is not taken.
        project: puts scenes where they may be, object by object, before they are looked at.
        threshold: the score from which on a detection counts.
        until: `end` takes every step, as the seed does: precision falls with each object that is
            lost. `missed` stops at the first object that is, and costs fewer renders.
        batch_size: how many scenes are rendered at once.

    Raises:
        BadInput: no scene, or settings that say what a detector does not have.
    """
    if not len(scenes):
        raise BadInput("no scene to attack: at least one is wanted")
    if settings.attack == "sCW" or settings.loss is not None or settings.target is not None:
        raise BadInput("a detector is attacked by its confidence loss: no sCW, loss or target")
    parts = []
    with held_still(detector):
        for rows in track(_batches(scenes, feasible, batch_size), f"{settings.attack} on streets"):
            search = _Search(renderer, detector, scenes[rows], truths_of, threshold, until)
            within = every(*(each for each in feasible if bool(each(scenes[rows]).all())))
            parts.append((rows, search, search.run(settings, within, project)))
    order = torch.cat([rows for rows, _, _ in parts]).argsort()
    joined = DetectionCounterexamples.joined([part for _, _, part in parts])
    return joined[order.cpu()]


def missed(found: Found, truth: Truth, threshold: float) -> int:
    """Return how many objects no detection stands for: one each, right class, IOU at least 0.5.

    Detections below the threshold do not count; as many objects as can be are found.
    """
    sure = found.scores >= threshold
    fits = box_iou(truth.boxes, found.boxes[sure]) >= IOU
    fits &= truth.labels[:, None] == found.labels[sure]
    pairs = linear_sum_assignment(fits.cpu().numpy(), maximize=True)
    return len(truth.labels) - int(fits[pairs].sum())


class _Search:
    """One batch under attack."""

    def __init__(
        self,
        renderer: Renderer,
        detector: Detector,
        scenes: Scene,
        truths_of: TruthsOf,
        threshold: float,
        until: str,
    ) -> None:
        self.renderer, self.detector, self.scenes = renderer, detector, scenes
        self.truths_of, self.threshold, self.until = truths_of, threshold, until
        self.truths = truths_of(scenes)
        self.already = torch.zeros(len(scenes), dtype=torch.bool, device=scenes.pose.device)
        self.missed_before: Tensor | None = None

    def run(
        self, settings: AttackSettings, feasible: Feasible, project: Project | None
    ) -> DetectionCounterexamples:
        reached = move_scenes(self.renderer, self.scenes, settings, self.look, feasible, project)
        return self._record(reached, reached.scenes)

    def look(self, view: View) -> Judgement:
        """Return the detector's doubt; scenes without an object that is found are done."""
        truths = self.truths_of(view.scenes)
        value = self.detector.doubt(view.images, truths)
        if self.missed_before is None:  # the first look is at every scene, where it was
            self.missed_before = self._missed(self._detect(view.images.detach()), truths)
            counts = torch.tensor([len(truth.labels) for truth in truths])
            self.already = (self.missed_before == counts).to(value.device)
        done = self.already[view.rows]
        if self.until == "missed":
            lost = self._missed(self._detect(view.images.detach()), truths)
            done = done | (lost > self.missed_before[view.rows.cpu()]).to(value.device)
        return Judgement(value, done)

    def _record(self, reached: Reached, after: Scene) -> DetectionCounterexamples:
        truths_after = self.truths_of(after)
        before, found = (
            self._detect(images.float() / 255)
            for images in (reached.images_before, reached.images_after)
        )
        missed_before = self._missed(before, self.truths)
        missed_after = self._missed(found, truths_after)
        counts = torch.tensor([len(truth.labels) for truth in self.truths])
        already = missed_before == counts
        return DetectionCounterexamples(
            before=self.scenes.detach().to("cpu"),
            after=after.to("cpu"),
            images_before=reached.images_before.cpu(),
            images_after=reached.images_after.cpu(),
            truths_before=[Truth(*(part.cpu() for part in truth)) for truth in self.truths],
            truths_after=[Truth(*(part.cpu() for part in truth)) for truth in truths_after],
            found_before=[Found(*(part.cpu() for part in each)) for each in before],
            found_after=[Found(*(part.cpu() for part in each)) for each in found],
            missed_before=missed_before,
            missed_after=missed_after,
            success=~already & (missed_after > missed_before) & reached.sound.cpu(),
            loss=reached.loss.cpu(),
            renders=reached.renders.cpu(),
        )

    def _detect(self, images: Tensor) -> list[Found]:
        return self.detector.detect(images.clamp(0, 1), LEAST_SCORE)

    def _missed(self, found: Sequence[Found], truths: Sequence[Truth]) -> Tensor:
        pairs = zip(found, truths, strict=True)
        return torch.tensor([missed(each, truth, self.threshold) for each, truth in pairs])


def _batches(scenes: Scene, feasible: Sequence[Feasible], batch_size: int) -> list[Tensor]:
    """Part scenes into batches that lie, from the start, in the same of the feasible sets."""
    rows = torch.arange(len(scenes), device=scenes.pose.device)
    inside: Bool[Tensor, "scene set"] = torch.stack(
        [torch.ones_like(rows, dtype=torch.bool), *(each(scenes) for each in feasible)], dim=1
    )
    kinds, kind = inside.unique(dim=0, return_inverse=True)
    return [part for k in range(len(kinds)) for part in rows[kind == k].split(batch_size)]
