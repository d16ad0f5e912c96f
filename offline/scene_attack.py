"""The semantic attack of a recipe on its rendered images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from offline.counterexamples import SearchSettings, Subjects, write_shards
from offline.rendering.engines import EngineSettings
from offline.rendering.rendered_set import RenderedImages
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
    settings: SearchSettings
    device: torch.device

    def __post_init__(self) -> None:
        """Refuse a renderer that is not installed now, and not after the model is trained."""
        self._engine().renderer()

    def on_test(self, model: nn.Module, folder: Path) -> None:
        """Attack every test scene; shards go to `folder`, and those that are there are kept."""
        test = self.data.test
        self._attack(model, test, torch.arange(len(test)), folder)

    def on_train(self, model: nn.Module, rows: Int64[Tensor, " b"], folder: Path) -> None:
        """Attack the scenes of some training images, `rows` of `data.train`."""
        self._attack(model, self.data.rendered, self.data.train.indices[rows], folder)

    def draw_rows(self, share: float, seed: int) -> Int64[Tensor, " b"]:
        """Draw a share of the training images, in the order in which they were rendered.

        Neighbours come from the same chunk, whose scenes are then drawn only once.
        """
        count = len(self.data.train)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        rows = order[: round(share * count)]
        return rows[self.data.train.indices[rows].argsort()]

    def _attack(
        self, model: nn.Module, images: RenderedImages, places: Tensor, folder: Path
    ) -> None:
        labels = images.labels[places]
        subjects = Subjects(places, labels, images.scenes, images.seed, self._engine())
        write_shards(folder, model, subjects, self.settings, self.device)

    def _engine(self) -> EngineSettings:
        """Return what renders the images, but for the renderer that the attack names."""
        engine = self.data.rendered.settings.engine()
        return engine.model_copy(update={"name": self.settings.renderer})
