"""The semantic attack of a recipe on its rendered images."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from offline.counterexamples import AttackSettings, Counterexamples, find_counterexamples
from offline.rendering.engines import make_renderer
from offline.rendering.rendered_set import RenderedImages
from offline.rendering.renderer import Renderer
from offline.sources import RenderedData

__all__ = ["SceneAttack"]


@dataclass(frozen=True)
class SceneAttack:
    """Attacks a model on the scenes that a data set was rendered from.

    Attributes:
        data: the rendered images.
        settings: of the attack.
        device: where it runs.

    Raises:
        CornerguardError: the renderer that the settings name is not installed.
    """

    data: RenderedData
    settings: AttackSettings
    device: torch.device

    def __post_init__(self) -> None:
        """Refuse a renderer that is not installed now, and not after the model is trained."""
        self._renderer()

    def on_test(self, model: nn.Module) -> Counterexamples:
        """Attack every test scene."""
        test = self.data.test
        return self._attack(model, test, torch.arange(len(test)))

    def on_train(self, model: nn.Module, rows: Int64[Tensor, " b"]) -> Counterexamples:
        """Attack the scenes of some training images, `rows` of `data.train`."""
        return self._attack(model, self.data.rendered, self.data.train.indices[rows])

    def draw_rows(self, share: float, seed: int) -> Int64[Tensor, " b"]:
        """Draw a share of the training images, in the order in which they were rendered.

        Neighbours come from the same chunk, whose scenes are then drawn only once.
        """
        count = len(self.data.train)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        rows = order[: round(share * count)]
        return rows[self.data.train.indices[rows].argsort()]

    def _attack(self, model: nn.Module, images: RenderedImages, places: Tensor) -> Counterexamples:
        scenes = images.scenes(places).to(self.device)
        labels = images.labels[places]
        return find_counterexamples(self._renderer(), model, scenes, labels, self.settings)

    def _renderer(self) -> Renderer:
        images = self.data.rendered.settings
        return make_renderer(self.settings.renderer, (images.size, images.size), images.samples)
