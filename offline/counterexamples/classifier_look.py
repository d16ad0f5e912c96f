"""How an attack on a classifier looks at scenes: what is raised, and when the model errs."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from offline.attacks import Judgement
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.objectives import Aim, aim_of, distance
from offline.counterexamples.scene_ascent import View, eight_bits

__all__ = ["ClassifierLook"]


class ClassifierLook:
    """The `Look` of one batch of scenes. The first view must be of all of them, where they start.

    Args:
        model: images [batch, 3, height, width] to logits.
        origin: the features that move, where they start.
        labels: the true classes.
        settings: the attack.

    Attributes:
        weight: c of each scene, of sCW.
        aim: what is raised, and what is an error; there since the first view.
        before: the model's answer to the first view.
        met: which scenes were last seen where the attack wants them.
    """

    aim: Aim
    before: tuple[Int64[Tensor, " scene"], Float[Tensor, " scene"]]

    def __init__(
        self,
        model: nn.Module,
        origin: Mapping[str, Float[Tensor, "scene ..."]],
        labels: Int64[Tensor, " scene"],
        settings: AttackSettings,
    ) -> None:
        self.model, self.origin, self.labels, self.settings = model, origin, labels, settings
        self.weight = torch.full((len(labels),), settings.scw.weight, device=labels.device)
        self.met = torch.zeros_like(labels, dtype=torch.bool)
        self._idle: Tensor | None = None

    def __call__(self, view: View) -> Judgement:
        """Classify some scenes; those are done that the model gets wrong as it is to.

        And those that it got wrong from the start, or whose target is their true class.
        """
        logits, rows = self._logits(view.images), view.rows
        if self._idle is None:
            self.aim = aim_of(self.settings, logits.detach(), self.labels)
            self.before = self.answer(eight_bits(view.images))
            self._idle = (self.before[0] != self.labels) | self.aim.impossible()
        aim = self.aim.rows(rows)
        value, hit = aim.value(logits), aim.hit(logits.argmax(dim=1))
        if self.settings.attack == "sCW":
            scw = self.settings.scw
            hit &= value >= scw.confidence
            lacking = (scw.confidence - value).clamp_min(0)
            value = -self.far(view.theta, rows) - self.weight[rows] * lacking
        # NaN is the greatest to `argmax`: it would be a class.
        value = value.masked_fill(~(logits < torch.inf).all(dim=1), torch.nan)
        hit &= value.isfinite()
        if hit.any():  # a scene must not leave for an error that rounding takes back
            predicted = self.answer(eight_bits(view.images[hit]))[0]
            hit[hit.clone()] = self.aim.rows(rows[hit]).hit(predicted)
        self.met[rows] = hit
        return Judgement(value, hit | self._idle[rows])

    def far(
        self,
        theta: Mapping[str, Float[Tensor, "row ..."]],
        rows: Int64[Tensor, " row"] | None = None,
    ) -> Float[Tensor, " row"]:
        """‖π‖_p: how far scenes (all, or `rows`) are from where they started."""
        origin = self.origin
        if rows is not None:
            origin = {name: value[rows] for name, value in origin.items()}
        return distance(theta, origin, self.settings.scw.norm)

    @torch.no_grad()
    def answer(
        self, images: UInt8[Tensor, "row 3 height width"]
    ) -> tuple[Int64[Tensor, " row"], Float[Tensor, " row"]]:
        """Return the model's labels, and their softmax values, on images as they are stored."""
        highest = self._logits(images.float() / 255).softmax(dim=1).max(dim=1)
        return highest.indices, highest.values

    def _logits(self, images: Float[Tensor, "row 3 height width"]) -> Float[Tensor, "row class"]:
        logits: Tensor = self.model(images)
        return logits.float()
