"""A recipe: one YAML file that says what is to be released, and what must hold before it is."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from export.settings import ExportSettings
from guard.errors import BadInput, nearest
from guard.settings import Settings, load_settings
from offline.corner_cases import CornerCaseSettings
from offline.counterexamples import SearchSettings, with_preset
from offline.evaluation.settings import EvaluateSettings, Floors
from offline.fitting import FitSettings
from offline.hardening import HardenSettings, TrainSettings
from offline.rendering.rendered_set import RenderSettings

__all__ = ["DataSettings", "Recipe", "load_recipe"]


class DataSettings(Settings):
    """Where the images come from; `data: PATH` is short for `data: {path: PATH}`.

    Attributes:
        path: a folder with train/CLASS/IMAGE and test/CLASS/IMAGE, or one that holds a torchvision
            data set.
        torchvision: the name of torchvision's data set; found by itself for MNIST's family.
        download: let torchvision download it.
        size: height and width to which a folder's images are resized.
        channels: 3 for RGB, 1 for grey; for a folder.
        rendered: render the images instead of reading them.
        calibration: the fraction of the training images held out for the threshold; the model and
            its validators never see them.
    """

    path: Path | None = None
    torchvision: str | None = None
    download: bool = False
    size: tuple[int, int] | None = None
    channels: int = Field(3, ge=1, le=3)
    rendered: RenderSettings | None = None
    calibration: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if (self.path is None) == (self.rendered is None):
            raise ValueError("one of `path` and `rendered` is wanted")
        return self


class Recipe(Settings):
    """The whole job. `cornerguard run --help` shows an example.

    Attributes:
        name: the run's folder is runs/NAME.
        seed: of everything random.
        data: the images.
        model: `package.module:factory`, called with `arguments`.
        weights: a safetensors file; with it the model is not trained.
        normalise: {mean: [...], std: [...]} put inside the model.
        train: how the model is trained when there are no weights.
        counterexamples: how semantic counterexamples are sought; needs rendered data. With
            `preset: resnet50/sCW` (or another) all that is not given is as in the paper.
        harden: how the model is hardened; left out, the model is released as it is.
        fit: how the validators are fitted.
        corner_cases: on which natural corner cases they are evaluated.
        evaluate: how robustness is measured.
        export: what is written beside the ONNX graph, and which images it takes.
        floors: what must hold before a release.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(0, ge=0)
    data: Annotated[
        DataSettings,
        BeforeValidator(lambda value: {"path": value} if isinstance(value, str | Path) else value),
    ]
    model: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None
    normalise: dict[str, tuple[float, ...]] | None = None
    train: TrainSettings = TrainSettings()
    counterexamples: Annotated[SearchSettings | None, BeforeValidator(with_preset)] = None
    harden: HardenSettings | None = None
    fit: FitSettings = FitSettings()
    corner_cases: CornerCaseSettings = CornerCaseSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    export: ExportSettings = ExportSettings()
    floors: Floors = Floors()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.counterexamples is not None and self.data.rendered is None:
            raise ValueError("semantic counterexamples need data that is rendered: `data.rendered`")
        if self.normalise is not None and set(self.normalise) != {"mean", "std"}:
            raise ValueError("`normalise` has the keys mean and std")
        return self


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> tuple[Recipe, Path]:
    """Read a recipe and say where it lies: a file, or the name of one that comes with cornerguard.

    Raises:
        BadInput: no such recipe, or a mistake in it, named with its line.
    """
    path = Path(name)
    if not path.is_file():
        shipped = Path(str(resources.files("offline") / "recipes"))
        names = sorted(file.stem for file in shipped.glob("*.yaml"))
        path = shipped / f"{path.stem}.yaml"
        if not path.is_file():
            raise BadInput(f"{name}: no such recipe{nearest(Path(name).stem, names)}")
    return load_settings(path, Recipe, overrides), path
