"""The search for semantic counterexamples: scene parameters are moved until the model errs."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import track
from offline.attacks import Judgement, ascend, held_still, lowered_score
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.found import Counterexamples
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
    feasible: Callable[[Scene], Tensor] | None = None,
) -> Counterexamples:
    """Attack each scene: θ ← θ − α · direction(∂ z_y / ∂ θ), until the model errs: 000, eq. 1-3.

    The attack lowers the raw score z_y of the true class, and a scene keeps its first success. A
    scene that the model gets wrong from the start is left alone and reported apart. A step that
    takes the object out of view (or to where `feasible` says no) is not taken, so that nothing
    infeasible is ever counted, nor an image with a pixel that is not finite, nor a scene that shows
    nothing of its object from the start.

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
    with held_still(model):
        parts = [
            _Attack(renderer, model, scenes[rows], labels[rows], settings, feasible).run()
            for rows in track(order, f"{settings.attack} on {len(scenes)} scenes")
        ]
    theta = {name: torch.cat([part[0][name] for part in parts]) for name in settings.steps}
    arrays = {name: torch.cat([part[1][name] for part in parts]).cpu() for name in parts[0][1]}
    arrays["success"][unseen] = False
    return Counterexamples(
        before=scenes.detach().to("cpu"),
        after=scenes.detach().replace(**theta).to("cpu"),
        labels=labels.cpu(),
        **arrays,
    )


class _Attack:
    """One batch under attack; it keeps what the last evaluation of each scene saw."""

    def __init__(
        self,
        renderer: Renderer,
        model: nn.Module,
        scenes: Scene,
        labels: Int64[Tensor, " scene"],
        settings: AttackSettings,
        feasible: Callable[[Scene], Tensor] | None,
    ) -> None:
        self.renderer, self.model, self.scenes, self.labels = renderer, model, scenes, labels
        self.settings, self.wanted = settings, feasible
        self.evaluations = 0
        self.images: list[UInt8[Tensor, "scene channel height width"]] = []
        self.loss = torch.zeros(len(scenes), settings.rounds + 1, device=labels.device)
        self.done = torch.zeros_like(labels, dtype=torch.bool)
        self.sound = torch.ones_like(self.done)

    def run(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the parameters that were reached, and the arrays of `Counterexamples`."""
        origin = self.scenes.parameters()
        moves = self.settings.moves()
        theta = ascend(self.judge, origin, moves, self.settings.rounds, feasible=self.feasible)
        going = (~self.done).nonzero()[:, 0]
        if len(going):
            with torch.no_grad():
                self.judge({name: value[going] for name, value in theta.items()}, going)
        before, after = self.images
        predicted_before, confidence_before = self.answer(before)
        predicted_after, confidence_after = self.answer(after)
        success = (predicted_before == self.labels) & (predicted_after != self.labels) & self.sound
        return theta, {
            "images_before": before,
            "images_after": after,
            "predicted_before": predicted_before,
            "predicted_after": predicted_after,
            "confidence_before": confidence_before,
            "confidence_after": confidence_after,
            "success": success,
            "loss": self.loss,
        }

    def judge(self, theta: dict[str, Tensor], rows: Tensor) -> Judgement:
        """Render and classify some scenes; those that the model gets wrong are done."""
        rendered = self.renderer.render(self.scenes[rows].replace(**theta))
        logits = self.model(rendered).float()
        value = lowered_score(logits, self.labels[rows])
        self._record(rendered.detach(), value.detach(), rows)
        self.done[rows] = logits.argmax(dim=1) != self.labels[rows]
        return Judgement(value, self.done[rows])

    def feasible(self, theta: dict[str, Tensor], rows: Tensor) -> Bool[Tensor, " row"]:
        """Say which scenes still show enough of their object, and are where they may be."""
        scenes = self.scenes[rows].replace(**theta)
        coverage = self.renderer.coverage(scenes)
        seen = (coverage > 0) & (coverage >= self.settings.least_coverage)
        return seen if self.wanted is None else seen & self.wanted(scenes)

    @torch.no_grad()
    def answer(
        self, images: UInt8[Tensor, "scene channel height width"]
    ) -> tuple[Int64[Tensor, " scene"], Float[Tensor, " scene"]]:
        """Return the model's labels and their softmax values on 8-bit images."""
        highest = self.model(images.float() / 255).float().softmax(dim=1).max(dim=1)
        return highest.indices, highest.values

    def _record(self, rendered: Tensor, value: Tensor, rows: Tensor) -> None:
        finite = rendered.isfinite().flatten(1).all(dim=1) & value.isfinite()
        stored = (rendered.nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)
        if not self.evaluations:
            self.images = [stored, stored.clone()]
        self.images[1][rows] = stored
        self.sound[rows] = finite
        # To the end of the trace: a scene that stops keeps its last value.
        self.loss[rows, self.evaluations :] = value.nan_to_num(0.0)[:, None]
        self.evaluations += 1
