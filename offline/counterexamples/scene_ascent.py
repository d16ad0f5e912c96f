"""The one template of every semantic attack: scenes are moved, rendered and looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from offline.attacks import Judgement, ascend
from offline.counterexamples.attack_settings import AttackSettings
from offline.counterexamples.features import moved, starts
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["Feasible", "Look", "Project", "Reached", "View", "eight_bits", "move_scenes"]


class View(NamedTuple):
    """Some scenes of a batch, as an attack has moved them."""

    images: Float[Tensor, "row 3 height width"]
    scenes: Scene
    theta: dict[str, Tensor]
    """The values of the features that move."""
    rows: Int64[Tensor, " row"]
    """Which scenes of the batch they are."""


Look = Callable[[View], Judgement]
"""To the value that the attack raises, and which scenes are done: the model errs. It may depend on
each row alone."""

Feasible = Callable[[Scene], Tensor]
"""Scenes to bool [batch]: whether they lie in the feasible set (000, equation 3)."""

Project = Callable[[Scene, Scene], Scene]
"""(scenes at the start, the same where features put them) to the nearest that they may be, object
by object: what one of them may not do keeps no other back. Gradients pass as if it did nothing."""


@dataclass
class Reached:
    """Where an attack left a batch of scenes.

    Attributes:
        theta: the features at their last values, by name.
        scenes: where these, and the projection, put the scenes.
        images_before, images_after: of 8 bits.
        loss: what was raised, at the start and after each step; a scene that stopped keeps
            its last value.
        renders: how many images were rendered of each scene.
        sound: no pixel and no value was NaN or infinite in the last evaluation.
        coverage: the fraction of the pixels that showed the subject at the start.
    """

    theta: dict[str, Tensor]
    scenes: Scene
    images_before: UInt8[Tensor, "scene channel height width"]
    images_after: UInt8[Tensor, "scene channel height width"]
    loss: Float[Tensor, "scene evaluation"]
    renders: Int64[Tensor, " scene"]
    sound: Bool[Tensor, " scene"]
    coverage: Float[Tensor, " scene"]


def move_scenes(
    renderer: Renderer,
    scenes: Scene,
    settings: AttackSettings,
    look: Look,
    feasible: Feasible | None = None,
    project: Project | None = None,
) -> Reached:
    """Raise what `look` says, scene by scene, until it says done: 000, Appendix B.

    A scene that is done leaves the batch, and so does one that shows nothing of its subject from
    the start. A step to where the subject covers less than `least_coverage` (or than half of what
    it did at the start, where that is less), or to where `feasible` says no, is shortened. Before
    they are seen or asked about, `project` puts scenes in their place.
    """
    return _Attack(renderer, scenes, settings, look, feasible, project).run()


def eight_bits(
    images: Float[Tensor, "row channel height width"],
) -> UInt8[Tensor, "row channel height width"]:
    """Return images in [0, 1] as they are stored: of 0 to 255, and black where they are NaN."""
    return (images.detach().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)


class _Attack:
    """One batch under attack; it keeps what the last evaluation of each scene saw."""

    def __init__(
        self,
        renderer: Renderer,
        scenes: Scene,
        settings: AttackSettings,
        look: Look,
        feasible: Feasible | None,
        project: Project | None,
    ) -> None:
        self.renderer, self.scenes, self.settings = renderer, scenes, settings
        self.look, self.wanted, self.project = look, feasible, project
        count, device = len(scenes), scenes.pose.device
        self.evaluations = 0
        self.images: list[UInt8[Tensor, "scene channel height width"]] = []
        self.loss = torch.zeros(count, settings.rounds + 1, device=device)
        self.renders = torch.zeros(count, dtype=torch.int64, device=device)
        self.done = torch.zeros(count, dtype=torch.bool, device=device)
        self.sound = torch.ones_like(self.done)
        self.coverage = renderer.coverage(scenes)
        # Of a far object less is enough, or none of its steps would be allowed.
        self.least = (self.coverage / 2).clamp(max=settings.least_coverage)

    def run(self) -> Reached:
        settings = self.settings
        origin = starts(self.scenes, settings.steps)
        theta = ascend(
            self.judge, origin, settings.moves(), settings.rounds, feasible=self.feasible
        )
        going = (~self.done).nonzero()[:, 0]
        if len(going):
            with torch.no_grad():
                self.judge({name: value[going] for name, value in theta.items()}, going)
        before, after = self.images
        scenes = self.placed(theta, slice(None)).detach()
        return Reached(
            theta, scenes, before, after, self.loss, self.renders, self.sound, self.coverage
        )

    def judge(self, theta: dict[str, Tensor], rows: Tensor) -> Judgement:
        """Render some scenes and look at them."""
        scenes = self.placed(theta, rows)
        images = self.renderer.render(scenes)
        seen = self.look(View(images, scenes, theta, rows))
        self._record(images.detach(), seen.value.detach(), rows)
        done = self.coverage[rows] <= 0
        self.done[rows] = done if seen.done is None else done | seen.done
        return seen._replace(done=self.done[rows])

    def feasible(self, theta: dict[str, Tensor], rows: Tensor) -> Bool[Tensor, " row"]:
        """Say which scenes still show enough of their subject, and are where they may be."""
        scenes = self.placed(theta, rows)
        coverage = self.renderer.coverage(scenes)
        seen = (coverage > 0) & (coverage >= self.least[rows])
        return seen if self.wanted is None else seen & self.wanted(scenes)

    def placed(self, theta: dict[str, Tensor], rows: Tensor | slice) -> Scene:
        """Return some scenes where their features, and the projection, put them."""
        start = self.scenes[rows]
        scenes = moved(start, theta)
        return scenes if self.project is None else self.project(start, scenes)

    def _record(self, rendered: Tensor, value: Tensor, rows: Tensor) -> None:
        finite = rendered.isfinite().flatten(1).all(dim=1) & value.isfinite()
        stored = eight_bits(rendered)
        if not self.evaluations:
            self.images = [stored, stored.clone()]
        self.images[1][rows] = stored
        self.sound[rows] = finite
        self.renders[rows] += 1
        # To the end of the trace: a scene that stops keeps its last value.
        self.loss[rows, self.evaluations :] = value.nan_to_num(0.0)[:, None]
        self.evaluations += 1
