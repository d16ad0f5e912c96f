"""Sampling as a baseline of the semantic attacks: random and Halton (000, appendix E.5)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import track
from offline.attacks import Move, held_still, lowered_score
from offline.counterexamples.features import FEATURES, moved, starts
from offline.counterexamples.found import Counterexamples
from offline.counterexamples.sampling.sampling_settings import Points, SamplingSettings
from offline.counterexamples.scene_ascent import Feasible, eight_bits
from offline.rendering.out_of_view import unseen
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["Sampling", "sample_counterexamples"]


def sample_counterexamples(
    renderer: Renderer,
    model: nn.Module,
    scenes: Scene,
    labels: Int64[Tensor, " scene"],
    settings: SamplingSettings,
    batch_size: int = 64,
    *,
    feasible: Feasible | None = None,
) -> Counterexamples:
    """Render `samples` of each scene, and keep one: the seed's choice (000, appendix E.5).

    Of the samples that the model misclassifies, the one with the highest softmax value of the
    wrong prediction is kept; where there is none, the one with the lowest softmax value of the
    true class, which is no counterexample. Where no sample is feasible the scene stays as it was.
    A scene that the model gets wrong from the start, or that shows nothing of its object there, is
    left alone, as the attacks leave it. `loss` is minus the true class's raw score, of the scene as
    it was and of each sample.

    The arguments are those of `find_counterexamples`, but the renderer needs no gradients.

    Warns:
        OutOfViewWarning: scenes show nothing of their object from the start.

    Raises:
        BadInput: there is not one label for each scene.
    """
    with held_still(model):
        sampling = Sampling(renderer, model, scenes, labels, settings, batch_size, feasible)
        words = f"{settings.method} sampling of {len(scenes)} scenes"
        for number in track(range(settings.samples), words):
            sampling.draw(sampling.open.nonzero()[:, 0], number)
        return sampling.found()


class Sampling:
    """Scenes that are sampled, and the sample of each that is kept so far; the model holds still.

    Attributes:
        open: the scene as it was showed its object, and the model was right.
        success: a sample was found that the model misclassifies.
        renders: how many images were rendered of each scene.
    """

    def __init__(
        self,
        renderer: Renderer,
        model: nn.Module,
        scenes: Scene,
        labels: Int64[Tensor, " scene"],
        settings: SamplingSettings,
        batch_size: int = 64,
        feasible: Feasible | None = None,
    ) -> None:
        """Render the scenes as they are."""
        count, device = len(scenes), scenes.pose.device
        if count != len(labels) or not count:
            raise BadInput(f"{count} scenes with {len(labels)} labels; one label each is wanted")
        self.renderer, self.model, self.settings = renderer, model, settings
        self.scenes, self.labels = scenes.detach(), labels.to(device)
        self.batch_size, self.wanted = batch_size, feasible
        parts = torch.arange(count, device=device).split(batch_size)
        coverage = torch.cat([renderer.coverage(self.scenes[rows]) for rows in parts])
        unseen(coverage)  # warns
        # As the attacks want it: of a far object less is enough.
        self.least = (coverage / 2).clamp(max=settings.least_coverage)
        self.origin = starts(self.scenes, settings.ranges)
        self.theta = {name: value.clone() for name, value in self.origin.items()}
        dimensions = sum(value[0].numel() for value in self.origin.values())
        self.points = Points(settings, count, dimensions)
        looks = [self._look(self.scenes[rows], self.labels[rows]) for rows in parts]
        whole = {name: torch.cat([look[name] for look in looks]) for name in looks[0]}
        self.before, self.loss = whole, [whole["loss"]]
        self.after = {name: whole[name].clone() for name in _KEPT}
        self.open = (whole["predicted"] == self.labels) & (coverage > 0)
        self.success = torch.zeros_like(self.open)
        self.renders = torch.ones_like(self.labels)
        self.rank = torch.full_like(whole["loss"], -torch.inf)

    def draw(self, rows: Int64[Tensor, " row"], number: int) -> None:
        """Render sample `number` of some scenes, and keep it where it is better than the others."""
        self.loss.append(self.loss[-1].clone())
        for part in rows.split(self.batch_size):
            self._draw(part, number)

    def found(self) -> Counterexamples:
        """Return the sample that is kept of each scene."""
        arrays = {f"{name}_before": self.before[name].cpu() for name in _KEPT}
        arrays |= {f"{name}_after": value.cpu() for name, value in self.after.items()}
        return Counterexamples(
            before=self.scenes.to("cpu"),
            after=moved(self.scenes, self.theta).to("cpu"),
            labels=self.labels.cpu(),
            success=self.success.cpu(),
            loss=torch.stack(self.loss, dim=1).cpu(),
            renders=self.renders.cpu(),
            **arrays,
        )

    @torch.no_grad()
    def _draw(self, rows: Tensor, number: int) -> None:
        theta = self._sampled(rows, number)
        scenes, labels = moved(self.scenes[rows], theta), self.labels[rows]
        look = self._look(scenes, labels)
        fooled = look["predicted"] != labels
        # What fools the model comes before what does not; the rest is the seed's order.
        rank = torch.where(fooled, look["confidence"], -look["true"])
        rank = rank.masked_fill(~(self._allowed(scenes, rows) & look["sound"]), -torch.inf)
        better = rank > self.rank[rows]
        chosen = rows[better]
        self.rank[chosen] = rank[better]
        self.success[chosen] = fooled[better]
        for name, value in theta.items():
            self.theta[name][chosen] = value[better]
        for name, value in self.after.items():
            value[chosen] = look[name][better]
        self.loss[-1][rows] = look["loss"]
        self.renders[rows] += 1

    def _sampled(self, rows: Tensor, number: int) -> dict[str, Tensor]:
        """Return the features' values at a point, from the origin as far as the ranges go."""
        points, used, theta = self.points.take(rows, number).to(rows.device), 0, {}
        for name, reach in self.settings.ranges.items():
            start = self.origin[name][rows]
            size = start[0].numel()
            offset = (2 * points[:, used : used + size] - 1) * reach
            move = Move(reach, bound=reach, box=FEATURES[name].box)
            theta[name] = move.project(start + offset.view_as(start).to(start.dtype), start)
            used += size
        return theta

    def _allowed(self, scenes: Scene, rows: Tensor) -> Bool[Tensor, " row"]:
        coverage = self.renderer.coverage(scenes)
        seen = (coverage > 0) & (coverage >= self.least[rows])
        return seen if self.wanted is None else seen & self.wanted(scenes)

    @torch.no_grad()
    def _look(self, scenes: Scene, labels: Int64[Tensor, " row"]) -> dict[str, Tensor]:
        """Classify the images of scenes as they are stored, in 8 bits."""
        rendered = self.renderer.render(scenes)
        images = eight_bits(rendered)
        logits: Float[Tensor, "row class"] = self.model(images.float() / 255).float()
        softmax = logits.softmax(dim=1)
        highest = softmax.max(dim=1)
        loss = lowered_score(logits, labels)
        return {
            "images": images,
            "predicted": highest.indices,
            "confidence": highest.values,
            "true": softmax.gather(1, labels[:, None])[:, 0],
            "loss": loss.nan_to_num(0.0),
            "sound": rendered.isfinite().flatten(1).all(dim=1) & loss.isfinite(),
        }


_KEPT = ("images", "predicted", "confidence")
