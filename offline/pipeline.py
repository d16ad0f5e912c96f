"""The stages of a recipe, from images to a guard bundle."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from export.agreement_in_words import agreement_lines
from export.bundle import Calibration, export_bundle
from guard.bundle import load_bundle
from guard.errors import BadInput, FellShort
from guard.guarded import GuardedClassifier
from guard.progress import CONSOLE
from offline.counterexamples import load_shards
from offline.evaluation.assessment import Assessment, Protocol, assess
from offline.fitting import calibrate_on, fit_deep_validation, load_detector, save_detector
from offline.model_stages import attack_model, harden_model, train_model
from offline.recipe import load_recipe
from offline.recipe_run import RecipeRun
from offline.release_report import write_release_report
from offline.scene_attack import SceneAttack
from offline.sources import Data, RenderedData, check_images, open_files, open_rendered, render
from offline.stages import Run

__all__ = ["run_recipe"]

Stage = Literal["data", "train", "counterexamples", "harden", "fit", "evaluate", "export"]


def run_recipe(
    name: str,
    overrides: tuple[str, ...],
    runs: Path,
    until: Stage = "export",
    anew: tuple[Stage, ...] = (),
) -> dict[str, Any]:
    """Run a recipe's stages in `runs`/NAME, up to and with `until`; finished ones are reused.

    Those of `anew` are not, nor is what they kept when they were interrupted.

    Returns:
        The figures, each with `before`, `after`, `floor` and `holds`; empty before `evaluate`.

    Raises:
        BadInput: something in the recipe, named with its line.
        FellShort: a figure is below its floor; nothing was exported.
    """
    recipe, path = load_recipe(name, overrides)
    if until in ("counterexamples", "harden") and getattr(recipe, until) is None:
        raise BadInput(f"{path}: there is no `{until}` in this recipe")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    job = RecipeRun(recipe, path, Run(runs / recipe.name), device)
    with job.run.locked():
        for stage in anew:
            job.run.forget(stage)
        pipeline = _Pipeline(job)
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

    def __init__(self, job: RecipeRun) -> None:
        self.job, self.recipe, self.run = job, job.recipe, job.run
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
                self.attack = SceneAttack(rendered, recipe.counterexamples, self.job.device)
        elif settings.path is not None:
            with self.job.named("data"):
                self.images = images = open_files(settings, settings.path, recipe.seed)
                sums = [part.fingerprint() for part in images]
                self.run.stage("data", sums, lambda into: check_images(into, images))
        self.fingerprint = self.images.train.fingerprint()

    def train(self) -> None:
        """Train the model, or load its weights."""
        self.trained = train_model(self.job, self.images, self.fingerprint)

    def counterexamples(self) -> None:
        """Attack the trained model's scenes, where the recipe asks for it."""
        if self.attack is not None:
            attack_model(self.job, self.attack, self.trained)

    def harden(self) -> None:
        """Train the model further on what fools it, where the recipe asks for it."""
        self.hardened = harden_model(self.job, self.images.train)

    def fit(self) -> None:
        """Fit the validators of each model, and calibrate their threshold."""
        settings, seed = self.recipe.fit, self.recipe.seed
        models = {"trained": self.trained} | ({"hardened": self.hardened} if self.hardened else {})

        def make(folder: Path) -> None:
            for name, model in models.items():
                with self.job.named("fit"):
                    detector = fit_deep_validation(
                        model, self.images.train, self.images.calibration, settings, seed
                    )
                save_detector(folder / name, detector)

        after = ("train", *(["harden"] if self.hardened else []))
        made_from = [settings.model_dump(mode="json", exclude={"jobs", "backend"}), seed]
        folder = self.run.stage("fit", made_from, make, after=after)
        self.guarded = {
            name: GuardedClassifier(model, load_detector(folder / name).to(self.job.device)).eval()
            for name, model in models.items()
        }

    def evaluate(self) -> None:
        """Measure both models, write the report, and hold the figures against the floors."""
        recipe = self.recipe
        after = ("fit", *(["counterexamples"] if recipe.counterexamples else []))
        include = {"name", "seed", "corner_cases", "evaluate", "floors"}
        attack = recipe.counterexamples
        made_from = [
            recipe.model_dump(mode="json", include=include),
            attack and attack.decisive(),
            self.images.test.fingerprint(),
        ]
        folder = self.run.stage("report", made_from, self._write_report, after=after)
        CONSOLE.print((folder / "figures.txt").read_text(), markup=False, soft_wrap=True)
        CONSOLE.print(f"report: {folder / 'index.html'}", highlight=False)
        self.figures = json.loads((folder / "figures.json").read_text())["figures"]
        short = [name for name, figure in self.figures.items() if figure["holds"] is False]
        if short:
            raise FellShort(
                f"{self.job.path}: below the floor: {', '.join(short)}; nothing was exported"
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
        for line in agreement_lines(manifest.parity, manifest.variants):
            CONSOLE.print(line, highlight=False, soft_wrap=True)
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
            self.job.path.read_text(encoding="utf-8"),
            before,
            self._assess("hardened") if self.hardened else before,
            self.images.test.classes,
            histories,
        )

    def _assess(self, name: str) -> Assessment:
        recipe, guarded = self.recipe, self.guarded[name]
        found = None
        if self.attack is not None and name == "trained":
            found = load_shards(self.run.folder / "counterexamples" / "test")
        elif self.attack is not None:
            folder = self.run.checkpoint("report") / name
            self.attack.on_test(guarded.model, folder)
            found = load_shards(folder)
        epsilon = recipe.evaluate.epsilon
        if epsilon is None and recipe.harden is not None:
            epsilon = recipe.harden.epsilon
        protocol = Protocol(recipe.corner_cases, recipe.evaluate, epsilon, recipe.seed)
        return assess(guarded, self.images.test, found, protocol)
