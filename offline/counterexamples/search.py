"""The search for semantic counterexamples of a classifier: scenes are moved until it errs."""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import track
from offline.attacks import Judgement, held_still
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.features import moved, starts
from offline.counterexamples.found import Counterexamples
from offline.counterexamples.objectives import Aim, aim_of, distance
from offline.counterexamples.scene_ascent import Feasible, View, move_scenes
from offline.rendering.out_of_view import out_of_view
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

    A scene keeps its first success. One that the model gets wrong from the start is left alone and
    reported apart. A step that takes the object out of view (or to where `feasible` says no) is
    not taken, so that nothing infeasible is ever counted, nor an image with a pixel that is not
    finite, nor a scene that shows nothing of its object from the start.

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
        BadInput: there is not one label for each scene.
    """
    if len(scenes) != len(labels) or not len(labels):
        raise BadInput(f"{len(scenes)} scenes with {len(labels)} labels; one label each is wanted")
    order = torch.arange(len(scenes), device=scenes.pose.device).split(batch_size)
    labels = labels.to(scenes.pose.device)
    unseen = out_of_view(renderer, scenes, batch_size)
    title = f"{settings.attack} on {len(scenes)} scenes"
    with held_still(model):
        parts = [
            _Search(renderer, model, scenes[rows], labels[rows], settings, feasible).run()
            for rows in (track(order, title) if len(order) > 1 else order)
        ]
    theta = {name: torch.cat([part[0][name] for part in parts]) for name in settings.steps}
    arrays = {name: torch.cat([part[1][name] for part in parts]).cpu() for name in parts[0][1]}
    arrays["success"][unseen] = False
    return Counterexamples(
        before=scenes.detach().to("cpu"),
        after=moved(scenes.detach(), theta).to("cpu"),
        labels=labels.cpu(),
        **arrays,
    )


class _Search:
    """One batch under attack, once or with several weights c of sCW."""

    aim: Aim

    def __init__(
        self,
        renderer: Renderer,
        model: nn.Module,
        scenes: Scene,
        labels: Int64[Tensor, " scene"],
        settings: AttackSettings,
        feasible: Feasible | None,
    ) -> None:
        self.renderer, self.model, self.scenes, self.labels = renderer, model, scenes, labels
        self.settings, self.feasible = settings, feasible
        self.origin = starts(scenes, settings.steps)
        self.weight = torch.full((len(scenes),), settings.scw.weight, device=labels.device)
        self.looked = False
        self.wrong = torch.zeros_like(labels, dtype=torch.bool)

    def run(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the features that were reached, and the arrays of `Counterexamples`."""
        theta, arrays = self._once()
        low, high = torch.zeros_like(self.weight), torch.full_like(self.weight, torch.inf)
        for _ in range(self.settings.scw.searches - 1):
            hit = arrays["success"]
            high = torch.where(hit, torch.minimum(high, self.weight), high)
            low = torch.where(hit, low, torch.maximum(low, self.weight))
            self.weight = torch.where(high.isinf(), self.weight * 10, (low + high) / 2)
            theta_again, again = self._once()
            renders = arrays["renders"] + again["renders"]
            better = again["success"] & (~hit | (self._far(theta_again) < self._far(theta)))
            for kept, new in ((theta, theta_again), (arrays, again)):
                for name, value in new.items():
                    kept[name][better] = value[better]
            arrays["renders"] = renders
        return theta, arrays

    def look(self, view: View) -> Judgement:
        """Classify some scenes; those that the model gets wrong are done."""
        logits, rows = self.model(view.images).float(), view.rows
        if not self.looked:  # the first look is at every scene, where it was
            self.looked = True
            self.aim = aim_of(self.settings, logits.detach(), self.labels)
            self.wrong = logits.argmax(dim=1) != self.labels
        aim = self.aim.rows(rows)
        value, done = aim.value(logits), aim.hit(logits.argmax(dim=1))
        if self.settings.attack == "sCW":
            scw = self.settings.scw
            done = done & ((value >= scw.confidence) | (scw.confidence == 0))
            lacking = (scw.confidence - value).clamp_min(0)
            value = -self._far(view.theta, rows) - self.weight[rows] * lacking
        return Judgement(value, done | self.wrong[rows])

    def _far(self, theta: dict[str, Tensor], rows: Tensor | None = None) -> Tensor:
        origin = self.origin
        if rows is not None:
            origin = {name: value[rows] for name, value in origin.items()}
        return distance(theta, origin, self.settings.scw.norm)

    def _once(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        reached = move_scenes(self.renderer, self.scenes, self.settings, self.look, self.feasible)
        predicted_before, confidence_before = self._answer(reached.images_before)
        predicted_after, confidence_after = self._answer(reached.images_after)
        right = predicted_before == self.labels
        return reached.theta, {
            "images_before": reached.images_before,
            "images_after": reached.images_after,
            "predicted_before": predicted_before,
            "predicted_after": predicted_after,
            "confidence_before": confidence_before,
            "confidence_after": confidence_after,
            "success": right & self.aim.hit(predicted_after) & reached.sound,
            "loss": reached.loss,
            "renders": reached.renders,
        }

    @torch.no_grad()
    def _answer(
        self, images: UInt8[Tensor, "scene channel height width"]
    ) -> tuple[Int64[Tensor, " scene"], Float[Tensor, " scene"]]:
        """Return the model's labels and their softmax values on 8-bit images."""
        highest = self.model(images.float() / 255).float().softmax(dim=1).max(dim=1)
        return highest.indices, highest.values
