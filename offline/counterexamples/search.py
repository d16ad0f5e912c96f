"""The search for semantic counterexamples of a classifier: scenes are moved until it errs."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import track
from offline.attacks import held_still
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.classifier_look import ClassifierLook
from offline.counterexamples.features import moved, starts
from offline.counterexamples.found import Counterexamples
from offline.counterexamples.scene_ascent import Feasible, move_scenes
from offline.rendering.out_of_view import unseen
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["find_counterexamples"]


def find_counterexamples(
    renderer: Renderer,
    model: nn.Module,
    scenes: Scene,
    labels: Int64[Tensor, " scene"],
    settings: AttackSettings,
    batch_size: int = 64,
    *,
    feasible: Feasible | None = None,
) -> Counterexamples:
    """Attack each scene until the model errs, or sees the target: 000, Appendix B.

    A scene keeps its first success, which is one on its image of 8 bits, the one that is stored;
    with several weights c of sCW the nearest of these. A scene that the model gets wrong from the
    start is left alone and reported apart, and one whose true class is the target is left alone. A
    step that takes the object out of view (or to where `feasible` says no) is shortened, so that
    nothing infeasible is ever counted, nor an image with a pixel or a logit that is not finite, nor
    a scene that shows nothing of its object from the start.

    Args:
        renderer: makes images of scenes, differentiable in the parameters that are moved.
        model: images [batch, 3, height, width] to logits; on the device of the scenes.
        scenes: where the attack starts.
        labels: the true class of each scene.
        settings: the attack.
        batch_size: how many scenes are rendered at once.
        feasible: scenes to bool [batch], in addition to the coverage that the settings want.

    Warns:
        OutOfViewWarning: scenes show nothing of their object from the start.

    Raises:
        BadInput: there is not one label for each scene, or a label or the target is no class of
            the model, or the model or the renderer passes no gradient.
    """
    if len(scenes) != len(labels) or not len(labels):
        raise BadInput(f"{len(scenes)} scenes with {len(labels)} labels; one label each is wanted")
    order = torch.arange(len(scenes), device=scenes.pose.device).split(batch_size)
    labels = labels.to(scenes.pose.device)
    title = f"{settings.attack} on {len(scenes)} scenes"
    with held_still(model):
        parts = [
            _Search(renderer, model, scenes[rows], labels[rows], settings, feasible).run()
            for rows in (track(order, title) if len(order) > 1 else order)
        ]
    unseen(torch.cat([part.coverage for part in parts]))
    theta = {name: torch.cat([part.theta[name] for part in parts]) for name in settings.steps}
    names = parts[0].arrays
    return Counterexamples(
        before=scenes.detach().to("cpu"),
        after=moved(scenes.detach(), theta).to("cpu"),
        labels=labels.cpu(),
        **{name: torch.cat([part.arrays[name] for part in parts]).cpu() for name in names},
    )


class _Run(NamedTuple):
    """What one ascent of a batch found.

    Attributes:
        theta: the features that were reached.
        arrays: those of `Counterexamples`.
        met: a success of the confidence that sCW wants.
        coverage: at the start.
    """

    theta: dict[str, Tensor]
    arrays: dict[str, Tensor]
    met: Bool[Tensor, " scene"]
    coverage: Float[Tensor, " scene"]


class _Search:
    """One batch under attack, once or with several weights c of sCW."""

    def __init__(
        self,
        renderer: Renderer,
        model: nn.Module,
        scenes: Scene,
        labels: Int64[Tensor, " scene"],
        settings: AttackSettings,
        feasible: Feasible | None,
    ) -> None:
        self.renderer, self.scenes, self.labels = renderer, scenes, labels
        self.settings, self.feasible = settings, feasible
        self.look = ClassifierLook(model, starts(scenes, settings.steps), labels, settings)

    def run(self) -> _Run:
        """Attack once; with sCW, go on to other weights as Carlini & Wagner (2017, section V-B)."""
        best = latest = self._once()
        weight = self.look.weight
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(self.settings.scw.searches - 1):
            high = torch.where(latest.met, torch.minimum(high, weight), high)
            low = torch.where(latest.met, low, torch.maximum(low, weight))
            weight = torch.where(high.isinf(), weight * 10, (low + high) / 2)
            self.look.weight = weight
            latest = self._once()
            best = self._better(best, latest)
        return best

    def _once(self) -> _Run:
        look = self.look
        reached = move_scenes(self.renderer, self.scenes, self.settings, look, self.feasible)
        predicted_before, confidence_before = look.before
        predicted_after, confidence_after = look.answer(reached.images_after)
        counted = (predicted_before == self.labels) & reached.sound & (reached.coverage > 0)
        success = counted & look.aim.hit(predicted_after)
        arrays = {
            "images_before": reached.images_before,
            "images_after": reached.images_after,
            "predicted_before": predicted_before,
            "predicted_after": predicted_after,
            "confidence_before": confidence_before,
            "confidence_after": confidence_after,
            "success": success,
            "loss": reached.loss,
            "renders": reached.renders,
        }
        return _Run(reached.theta, arrays, success & look.met, reached.coverage)

    def _better(self, one: _Run, other: _Run) -> _Run:
        """Join two runs: of each scene the success, of two the confident, of two the nearest."""
        nearer = self.look.far(other.theta) < self.look.far(one.theta)
        rank, others = (run.arrays["success"].int() + run.met for run in (one, other))
        chosen = (others > rank) | ((others == rank) & (others > 0) & nearer)
        theta, arrays = (
            {name: _where(chosen, new[name], value) for name, value in old.items()}
            for old, new in ((one.theta, other.theta), (one.arrays, other.arrays))
        )
        arrays["renders"] = one.arrays["renders"] + other.arrays["renders"]
        return _Run(theta, arrays, torch.where(chosen, other.met, one.met), one.coverage)


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (old.ndim - 1)), new, old)
