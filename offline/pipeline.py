"""The stages of a recipe, from images to a guard bundle."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from export.bundle import Calibration, export_bundle
from guard.bundle import load_bundle
from guard.errors import BadInput, FellShort
from guard.guarded import GuardedClassifier
from guard.probes import require_layers
from guard.progress import CONSOLE
from guard.settings import where
from guard.storage import sha256_of, write_json
from offline.counterexamples import load_counterexamples, save_counterexamples
from offline.evaluation.assessment import Assessment, Protocol, assess
from offline.fitting import calibrate_on, fit_deep_validation, load_detector, save_detector
from offline.hardening import TrainingHistory, harden, train
from offline.models import build_model, load_weights, require_classifier, save_weights, source_of
from offline.recipe import Recipe, load_recipe
from offline.release_report import write_release_report
from offline.scene_attack import SceneAttack
from offline.sources import Data, RenderedData, check_images, open_files, open_rendered, render
from offline.stages import Run

__all__ = ["run_recipe"]

Stage = Literal["data", "train", "counterexamples", "harden", "fit", "evaluate", "export"]


def run_recipe(
    name: str, overrides: tuple[str, ...], runs: Path, until: Stage = "export"
) -> dict[str, Any]:
    """Run a recipe's stages in `runs`/NAME, up to and with `until`; finished ones are reused.

    Returns:
        The figures, each with `before`, `after`, `floor` and `holds`; empty before `evaluate`.

    Raises:
        BadInput: something in the recipe, named with its line.
        FellShort: a figure is below its floor; nothing was exported.
    """
    recipe, path = load_recipe(name, overrides)
    if until in ("counterexamples", "harden") and getattr(recipe, until) is None:
        raise BadInput(f"{path}: there is no `{until}` in this recipe")
    run = Run(runs / recipe.name)
    with run.locked():
        pipeline = _Pipeline(recipe, path, run)
        for stage in get_args(Stage):
            getattr(pipeline, stage)()
            if stage == until:
                break
    return pipeline.figures


class _Pipeline:
    """One method a stage, in their order; each leaves its result for the next ones."""

    images: Data | RenderedData
    attack: SceneAttack | None = None
    trained: nn.Module
    hardened: nn.Module | None = None
    guarded: dict[str, GuardedClassifier]

    def __init__(self, recipe: Recipe, path: Path, run: Run) -> None:
        self.recipe, self.path, self.run = recipe, path, run
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.figures: dict[str, Any] = {}

    def data(self) -> None:
        """Render the images, or open those that the user has."""
        recipe, settings = self.recipe, self.recipe.data
        if settings.rendered is not None:
            made_from = [settings.rendered.model_dump(mode="json"), recipe.seed]
            wanted, seed = settings.rendered, recipe.seed
            folder = self.run.stage("data", made_from, lambda into: render(into, wanted, seed))
            rendered = open_rendered(folder, wanted, settings.calibration, seed)
            self.images = rendered
            if recipe.counterexamples is not None:
                self.attack = SceneAttack(rendered, recipe.counterexamples, self.device)
        elif settings.path is not None:
            with self._named("data"):
                self.images = images = open_files(settings, settings.path, recipe.seed)
                sums = [part.fingerprint() for part in images]
                self.run.stage("data", sums, lambda into: check_images(into, images))
        self.fingerprint = self.images.train.fingerprint()

    def train(self) -> None:
        """Train the model, or load its weights."""
        recipe = self.recipe
        with self._named("model"):
            self.trained = self._model()
            require_classifier(self.trained, self.images.test.shape, len(self.images.test.classes))
            source = source_of(recipe.model)
        if recipe.fit.layers != "auto":
            with self._named("fit.layers"):  # now, and not after hours of training
                require_layers(self.trained, recipe.fit.layers)
        made_from = recipe.model_dump(
            mode="json", include={"model", "arguments", "normalise", "train"}
        )
        made_from |= {"seed": recipe.seed, "data": self.fingerprint, "source": sha256_of(source)}
        if recipe.weights is not None:
            with self._named("weights"):
                load_weights(self.trained, recipe.weights)
            made_from["weights"] = sha256_of(recipe.weights)

        def make(folder: Path) -> None:
            history = TrainingHistory((), ())
            if recipe.weights is None:
                history = train(
                    self.trained,
                    self.images.train,
                    recipe.train,
                    recipe.seed,
                    self.device,
                    checkpoint=self.run.checkpoint("train"),
                )
            _save(folder, self.trained, history)

        folder = self.run.stage("train", made_from, make)
        load_weights(self.trained, folder / "model.safetensors")
        self.trained.eval()

    def counterexamples(self) -> None:
        """Attack the trained model's scenes: those it is tested on, and those to harden it with."""
        recipe, attack = self.recipe, self.attack
        if attack is None:
            return
        share = recipe.harden.counterexample_share if recipe.harden else 0.0

        def make(folder: Path) -> None:
            save_counterexamples(folder / "test", attack.on_test(self.trained))
            if share:
                rows = attack.draw_rows(share, recipe.seed)
                images = attack.on_train(self.trained, rows).images_after
                save_file({"rows": rows, "images": images}, folder / "train.safetensors")

        made_from = [attack.settings.model_dump(mode="json"), share, recipe.seed]
        self.run.stage("counterexamples", made_from, make, after=("data", "train"))

    def harden(self) -> None:
        """Train the model further on adversarial images and on the counterexamples."""
        recipe, settings = self.recipe, self.recipe.harden
        if settings is None:
            return
        before = ["train", *(["counterexamples"] if recipe.counterexamples else [])]
        hardened = self.hardened = self._model()
        load_weights(hardened, self.run.folder / "train" / "model.safetensors")

        def make(folder: Path) -> None:
            found, rows = None, None
            if recipe.counterexamples and settings.counterexample_share:
                stored = load_file(self.run.folder / "counterexamples" / "train.safetensors")
                found, rows = stored["images"], stored["rows"]
            history = harden(
                hardened,
                self.images.train,
                settings,
                recipe.seed,
                self.device,
                counterexamples=found,
                rows=rows,
                checkpoint=self.run.checkpoint("harden"),
            )
            _save(folder, hardened, history)

        made_from = [settings.model_dump(mode="json"), recipe.seed]
        folder = self.run.stage("harden", made_from, make, after=tuple(before))
        load_weights(hardened, folder / "model.safetensors")
        hardened.eval()

    def fit(self) -> None:
        """Fit the validators of each model, and calibrate their threshold."""
        settings, seed = self.recipe.fit, self.recipe.seed
        models = {"trained": self.trained} | ({"hardened": self.hardened} if self.hardened else {})

        def make(folder: Path) -> None:
            for name, model in models.items():
                with self._named("fit"):
                    detector = fit_deep_validation(
                        model, self.images.train, self.images.calibration, settings, seed
                    )
                save_detector(folder / name, detector)

        after = ("train", *(["harden"] if self.hardened else []))
        made_from = [settings.model_dump(mode="json", exclude={"jobs", "backend"}), seed]
        folder = self.run.stage("fit", made_from, make, after=after)
        self.guarded = {
            name: GuardedClassifier(model, load_detector(folder / name).to(self.device)).eval()
            for name, model in models.items()
        }

    def evaluate(self) -> None:
        """Measure both models, write the report, and hold the figures against the floors."""
        recipe = self.recipe
        after = ("fit", *(["counterexamples"] if recipe.counterexamples else []))
        include = {"name", "seed", "corner_cases", "evaluate", "floors", "counterexamples"}
        made_from = [
            recipe.model_dump(mode="json", include=include),
            self.images.test.fingerprint(),
        ]
        folder = self.run.stage("report", made_from, self._write_report, after=after)
        CONSOLE.print((folder / "figures.txt").read_text(), markup=False, soft_wrap=True)
        CONSOLE.print(f"report: {folder / 'index.html'}", highlight=False)
        self.figures = json.loads((folder / "figures.json").read_text())["figures"]
        short = [name for name, figure in self.figures.items() if figure["holds"] is False]
        if short:
            raise FellShort(
                f"{self.path}: below the floor: {', '.join(short)}; nothing was exported"
            )

    def export(self) -> None:
        """Write model and detector as one graph, and check that it agrees with the module."""
        guarded = self.guarded.get("hardened", self.guarded["trained"])
        recipe, classes = self.recipe, self.images.test.classes
        again = partial(calibrate_on, classes=classes, settings=recipe.fit, seed=recipe.seed)

        def make(folder: Path) -> None:
            export_bundle(
                guarded,
                folder,
                class_names=classes,
                images=self.images.test,
                data_fingerprint=self.fingerprint,
                settings=recipe.export,
                calibration=Calibration(self.images.calibration, again),
                report=self.run.folder / "report",
                picture=self.run.folder / "mismatch.png",
            )

        made_from = [recipe.export.model_dump(mode="json"), list(classes)]
        folder = self.run.stage("bundle", made_from, make, after=("fit", "report"))
        manifest = load_bundle(folder).manifest
        for name, places in manifest.parity.items():
            for place, parity in places.items():
                CONSOLE.print(
                    f"{name} on {place}: labels and verdicts are the module's on {parity.images} "
                    f"images ({parity.ties} ties), scores within {parity.score:.1g}",
                    highlight=False,
                    soft_wrap=True,
                )
        for variant in manifest.variants.values():
            CONSOLE.print(
                f"{variant.file}: labels are float32's on {variant.same_labels:.1%} of "
                f"{variant.images} images, verdicts on {variant.same_verdicts:.1%}; "
                f"{variant.false_alarm_rate:.1%} false alarms at its own threshold "
                f"({variant.engine})",
                highlight=False,
                soft_wrap=True,
            )
        CONSOLE.print(f"bundle: {folder}", highlight=False)

    def _write_report(self, folder: Path) -> None:
        stages = {"training": "train"} | ({"hardening": "harden"} if self.hardened else {})
        histories = {
            title: json.loads((self.run.folder / stage / "history.json").read_text())
            for title, stage in stages.items()
        }
        before = self._assess("trained")
        write_release_report(
            folder,
            self.recipe,
            self.path.read_text(encoding="utf-8"),
            before,
            self._assess("hardened") if self.hardened else before,
            self.images.test.classes,
            histories,
        )

    def _assess(self, name: str) -> Assessment:
        recipe, guarded = self.recipe, self.guarded[name]
        found = None
        if self.attack is not None and name == "trained":
            found = load_counterexamples(self.run.folder / "counterexamples" / "test")
        elif self.attack is not None:
            found = self.attack.on_test(guarded.model)
        epsilon = recipe.evaluate.epsilon
        if epsilon is None and recipe.harden is not None:
            epsilon = recipe.harden.epsilon
        protocol = Protocol(recipe.corner_cases, recipe.evaluate, epsilon, recipe.seed)
        return assess(guarded, self.images.test, found, protocol)

    def _model(self) -> nn.Module:
        recipe = self.recipe
        torch.manual_seed(recipe.seed)  # the factory's own initial weights
        return build_model(recipe.model, recipe.arguments, recipe.normalise).to(self.device)

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Say in the message of a mistake where in the recipe it was named."""
        try:
            yield
        except BadInput as error:
            raise type(error)(f"{where(self.path, key)}: {error}") from None


def _save(folder: Path, model: nn.Module, history: TrainingHistory) -> None:
    save_weights(model, folder / "model.safetensors")
    write_json(folder / "history.json", history._asdict())
