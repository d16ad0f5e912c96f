"""Sampling with as many renders as an attack took: how many times as many the attack finds."""

from typing import NamedTuple

from torch import nn

from offline.attacks import held_still
from offline.counterexamples.found import Counterexamples
from offline.counterexamples.sampling.sampling import Sampling
from offline.counterexamples.sampling.sampling_settings import SamplingSettings
from offline.counterexamples.scene_ascent import Feasible
from offline.models import device_of
from offline.rendering.renderer import Renderer

__all__ = ["EqualRenders", "compare_at_equal_renders"]


class EqualRenders(NamedTuple):
    """What an attack and sampling found of the same scenes, by as many renders.

    Attributes:
        attack, sampling: counterexamples found by each.
        attack_renders, sampling_renders: images rendered by each; sampling has fewer only where
            no scene was left to be sampled.
    """

    attack: int
    sampling: int
    attack_renders: int
    sampling_renders: int

    @property
    def ratio(self) -> float:
        """How many times as many the attack found; where sampling found none, one is assumed."""
        return self.attack / max(1, self.sampling)


def compare_at_equal_renders(
    renderer: Renderer,
    model: nn.Module,
    attacked: Counterexamples,
    settings: SamplingSettings,
    batch_size: int = 64,
    *,
    feasible: Feasible | None = None,
) -> EqualRenders:
    """Sample the scenes of an attack with as many renders as it took, and count what is found.

    The renders are equal in sum. Sampling spends them as the attack does: one on each scene as it
    was, then, round by round, one on every scene where the model is right and not yet fooled, until
    none is left. It thus wastes none on a scene that is done. `settings.samples` plays no part.
    """
    device = device_of(model)
    scenes = attacked.before.to(device)
    budget = int(attacked.renders.sum())
    with held_still(model):
        sampling = Sampling(
            renderer, model, scenes, attacked.labels, settings, batch_size, feasible
        )
        left, number = budget - int(sampling.renders.sum()), 0
        going = sampling.open.nonzero()[:, 0]
        while left > 0 and len(going):
            sampling.draw(going[:left], number)
            left, number = left - len(going), number + 1
            going = (sampling.open & ~sampling.success).nonzero()[:, 0]
        drawn = sampling.found()
    return EqualRenders(
        int(attacked.success.sum()), int(drawn.success.sum()), budget, int(drawn.renders.sum())
    )
