"""The stages of a recipe that make its models: trained, attacked, hardened by what was found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from guard.probes import require_layers
from guard.storage import link_tree, sha256_of, write_json
from offline.counterexamples import read_shards
from offline.datasets import ImageSet
from offline.hardening import TrainingHistory, harden, train
from offline.models import load_weights, require_classifier, save_weights, source_of
from offline.recipe_run import RecipeRun
from offline.scene_attack import SceneAttack
from offline.sources import Data, RenderedData

__all__ = ["attack_model", "harden_model", "train_model"]

WEIGHTS = "model.safetensors"
TO_HARDEN_WITH = "train_rows.safetensors"


def train_model(job: RecipeRun, images: Data | RenderedData, fingerprint: str) -> nn.Module:
    """Train the recipe's model, or load its weights; returned in evaluation mode.

    Args:
        job: the recipe at work.
        images: what it is trained on, and what it will be tested on.
        fingerprint: of the training images.

    Raises:
        BadInput: the model, its layers or its weights are not what the recipe says.
    """
    recipe = job.recipe
    with job.named("model"):
        model = job.new_model()
        require_classifier(model, images.test.shape, len(images.test.classes))
        source = source_of(recipe.model)
    if recipe.fit.layers != "auto":
        with job.named("fit.layers"):  # now, and not after hours of training
            require_layers(model, recipe.fit.layers)
    made_from = recipe.model_dump(mode="json", include={"model", "arguments", "normalise", "train"})
    made_from |= {"seed": recipe.seed, "data": fingerprint, "source": sha256_of(source)}
    if recipe.weights is not None:
        with job.named("weights"):
            load_weights(model, recipe.weights)
        made_from["weights"] = sha256_of(recipe.weights)

    def training() -> TrainingHistory:
        if recipe.weights is not None:
            return TrainingHistory((), ())
        checkpoint = job.run.checkpoint("train")
        return train(
            model, images.train, recipe.train, recipe.seed, job.device, checkpoint=checkpoint
        )

    return _finished(job, "train", made_from, model, training)


def attack_model(job: RecipeRun, attack: SceneAttack, trained: nn.Module) -> None:
    """Attack the trained model's scenes: those it is tested on, and those to harden it with."""
    recipe = job.recipe
    share = recipe.harden.counterexample_share if recipe.harden else 0.0

    def make(folder: Path) -> None:
        at_work = job.run.checkpoint("counterexamples")
        attack.on_test(trained, at_work / "test")
        if share:
            rows = attack.draw_rows(share, recipe.seed)
            attack.on_train(trained, rows, at_work / "train")
            save_file({"rows": rows}, at_work / TO_HARDEN_WITH)
        link_tree(at_work, folder)  # not moved: until the stage is finished, they may be needed

    made_from = [attack.settings.decisive(), share, recipe.seed]
    job.run.stage("counterexamples", made_from, make, after=("data", "train"))


def harden_model(job: RecipeRun, images: ImageSet) -> nn.Module | None:
    """Train the model further on adversarial images and on the counterexamples.

    Args:
        job: the recipe at work; the stages before are finished.
        images: the training images.

    Returns:
        The hardened model in evaluation mode; None if the recipe hardens nothing.
    """
    recipe, settings, run = job.recipe, job.recipe.harden, job.run
    if settings is None:
        return None
    model = job.new_model()
    load_weights(model, run.folder / "train" / WEIGHTS)

    def training() -> TrainingHistory:
        found, rows = None, None
        if recipe.counterexamples and settings.counterexample_share:
            stored = run.folder / "counterexamples"
            rows = load_file(stored / TO_HARDEN_WITH)["rows"]
            found = torch.stack([each.image_after for each in read_shards(stored / "train")])
        return harden(
            model,
            images,
            settings,
            recipe.seed,
            job.device,
            counterexamples=found,
            rows=rows,
            checkpoint=run.checkpoint("harden"),
        )

    made_from = [settings.model_dump(mode="json"), recipe.seed]
    after = ("train", *(["counterexamples"] if recipe.counterexamples else []))
    return _finished(job, "harden", made_from, model, training, after)


def _finished(
    job: RecipeRun,
    stage: str,
    made_from: Any,
    model: nn.Module,
    training: Callable[[], TrainingHistory],
    after: tuple[str, ...] = (),
) -> nn.Module:
    """Return the model as the stage leaves it, now or in an earlier run."""

    def make(folder: Path) -> None:
        history = training()
        save_weights(model, folder / WEIGHTS)
        write_json(folder / "history.json", history._asdict())

    load_weights(model, job.run.stage(stage, made_from, make, after) / WEIGHTS)
    return model.eval()
