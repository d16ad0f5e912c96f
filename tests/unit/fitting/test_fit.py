"""Fitting from first to last, on images whose classes are patches of brightness."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.svm import OneClassSVM
from torch import nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.probes import ENERGY, INPUT
from guard.validators import Energy
from offline.datasets import ArrayImages, Subset
from offline.fitting import FitSettings, fit_deep_validation, load_detector, save_detector
from offline.fitting.features import collect_features
from offline.fitting.fit import watched_layers
from offline.networks import small_resnet

CLASSES = ("left", "right", "none")


class Sides(nn.Module):
    """Tells which half is brighter; `rows` is its one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.AdaptiveAvgPool2d((1, 2))
        self.head = nn.Linear(2, 3)
        self.head.weight.data = torch.tensor([[9.0, -9.0], [-9.0, 9.0], [0.0, 0.0]])
        self.head.bias.data = torch.tensor([0.0, 0.0, 1.0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.rows(images).flatten(1))


def image_set(count: int, seed: int) -> ArrayImages:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randint(60, 120, (count, 1, 8, 8), generator=draw)
    pixels[labels == 0, :, :, :4] += 90
    pixels[labels == 1, :, :, 4:] += 90
    return ArrayImages(pixels.to(torch.uint8), labels, CLASSES)


SETTINGS = FitSettings(jobs=1, batch_size=32, max_per_class=60, false_alarm_rate=0.1)


@pytest.fixture(scope="module")
def detector() -> DeepValidation:
    return fit_deep_validation(Sides(), image_set(300, 0), image_set(120, 1), SETTINGS, seed=0)


def test_clean_images_pass_and_strange_ones_do_not(detector: DeepValidation) -> None:
    guarded = GuardedClassifier(Sides(), detector)
    images = image_set(600, 2).fetch(torch.arange(600))
    with torch.no_grad():
        clean, strange = guarded(images), guarded(1 - images)
    assert 0.02 < 1 - float(clean.valid.float().mean()) < 0.25
    assert float(strange.valid.float().mean()) < 0.05
    assert clean.discrepancy.shape == (600, len(detector.layers))


def test_decisions_are_those_of_scikit_learn_on_the_same_features(tmp_path: Path) -> None:
    """The thesis as it is: every value, centred, one SVM per layer and class, plain sum."""
    settings = FitSettings(
        layers=("input", "rows"), reduction="flatten", scaling="centre", joint="sum",
        gamma=1, nu=0.1, jobs=1, max_per_class=200, false_alarm_rate=0.1, unit_length=False,
    )  # fmt: skip
    fit_set = image_set(240, 0)
    detector = fit_deep_validation(Sides(), fit_set, image_set(60, 1), settings, seed=0)
    images = image_set(30, 5).fetch(torch.arange(30))
    with torch.no_grad():
        output = GuardedClassifier(Sides(), detector)(images)
    assert torch.allclose(output.score, output.discrepancy.sum(1))
    trained = fit_set.fetch(torch.arange(240))
    for layer, name in enumerate(detector.layers):
        seen = [x if name == "input" else Sides().rows(x) for x in (trained, images)]
        rows, tests = (x.flatten(1).detach().double().numpy() for x in seen)
        gamma = 1 / rows.var(axis=0).sum()
        for label in range(3):
            machine = OneClassSVM(gamma=gamma, nu=0.1).fit(rows[fit_set.labels == label])
            dual, kept = machine.dual_coef_[0], machine.support_vectors_
            squares = np.square(kept[:, None] - kept).sum(-1)
            norm = np.sqrt(dual @ np.exp(-gamma * squares) @ dual)
            chosen = (output.label == label).numpy()
            expected = -machine.decision_function(tests[chosen]) / norm
            # The rows came in another order, and libsvm stops at a tolerance of 1e-3.
            assert output.discrepancy[chosen, layer].numpy() == pytest.approx(expected, abs=2e-3)


def test_energy_has_as_much_say_as_the_layers_and_no_less_than_training_images() -> None:
    """A calibration set in one class order, so that the held third is found again by its seed."""
    fit_set, calibration_set = image_set(90, 0), image_set(240, 1)
    settings = SETTINGS.model_copy(update={"layers": ("rows", ENERGY, "input")})
    detector = fit_deep_validation(Sides(), fit_set, calibration_set, settings, seed=4)
    assert detector.layers == ("rows", ENERGY, "input")
    seen = fit_set.fetch(torch.arange(90))
    with torch.no_grad():
        trained = Sides()(seen).double().exp().sum(1).log()
        held = torch.randperm(240, generator=torch.Generator().manual_seed(4))[:80]
        output = GuardedClassifier(Sides(), detector)(calibration_set.fetch(held))
    validator = detector.validators[1]
    assert isinstance(validator, Energy)
    expected = [float(trained[fit_set.labels == label].max()) for label in range(3)]
    assert validator.ceilings.tolist() == pytest.approx(expected, rel=1e-6)
    joining = detector.joining
    assert isinstance(joining, StandardisedSum)
    assert joining.weights.tolist() == pytest.approx([1, np.sqrt(2), 1])
    for label in range(3):
        seen = output.discrepancy[output.label == label].double().numpy()
        median, high = np.quantile(seen, [0.5, 0.99], axis=0)
        assert joining.shift[:, label].numpy() == pytest.approx(median, rel=1e-4)
        assert joining.scale[:, label].numpy() == pytest.approx(
            1 / np.maximum(high - median, 0.05), rel=1e-3
        )


def test_the_energy_alone_is_a_detector() -> None:
    settings = SETTINGS.model_copy(update={"layers": (ENERGY,)})
    detector = fit_deep_validation(Sides(), image_set(90, 0), image_set(120, 1), settings, seed=0)
    images = image_set(300, 2).fetch(torch.arange(300))
    with torch.no_grad():
        valid = GuardedClassifier(Sides(), detector)(images).valid
    assert 0.02 < 1 - float(valid.float().mean()) < 0.25


def test_distances_and_energy_are_not_summed_as_they_are() -> None:
    with pytest.raises(ValidationError, match="`energy` is in the logits' units"):
        FitSettings(layers=("rows", ENERGY), joint="sum")
    settings = SETTINGS.model_copy(update={"joint": "sum"})
    plain = fit_deep_validation(Sides(), image_set(90, 0), image_set(60, 1), settings, 0)
    assert ENERGY not in plain.layers


def test_a_threshold_per_class_holds_the_rate_in_each_where_a_common_one_does_not() -> None:
    """Class 2 is made hard: its noise is stronger in calibration and test than in training."""

    def harder(images: ArrayImages, seed: int) -> ArrayImages:
        hard = images.labels == 2
        draw = torch.Generator().manual_seed(seed)
        noise = torch.randint(-40, 40, images.pixels[hard].shape, generator=draw)
        images.pixels[hard] = (images.pixels[hard].int() + noise).clamp(0, 255).to(torch.uint8)
        return images

    test = harder(image_set(3000, 2), 6)
    alarms = {}
    for thresholds in ("common", "per_class"):
        settings = SETTINGS.model_copy(update={"joint": "sum", "thresholds": thresholds})
        calibration_set = harder(image_set(1200, 1), 5)
        detector = fit_deep_validation(Sides(), image_set(300, 0), calibration_set, settings, 0)
        with torch.no_grad():
            output = GuardedClassifier(Sides(), detector)(test.fetch(torch.arange(3000)))
        # The verdict and the p-value are two forms of one test.
        assert torch.equal(output.valid, output.p_value > settings.false_alarm_rate)
        alarms[thresholds] = [
            1 - float(output.valid[output.label == label].float().mean()) for label in range(3)
        ]
    # With about 400 calibration images of a class the rate deviates by about 0.015.
    assert alarms["per_class"] == pytest.approx([0.1] * 3, abs=0.05)
    assert max(alarms["common"]) > 0.2


def test_a_class_with_too_few_calibration_images_for_its_threshold_is_named() -> None:
    images = image_set(60, 0)
    few = Subset(images, torch.nonzero((images.labels != 1) | (torch.arange(60) < 6)).flatten())
    settings = SETTINGS.model_copy(update={"joint": "sum", "thresholds": "per_class"})
    message = "needs 9 calibration images or more, there are 2 that the model calls 'right'"
    with pytest.raises(BadInput, match=message):
        fit_deep_validation(Sides(), images, few, settings, 0)


def test_misclassified_images_are_left_out(tmp_path: Path) -> None:
    fit_set = image_set(90, 0)
    wrong = torch.arange(90) % 9 == 0  # all of label 0; shown a blank, which the model calls 2
    fit_set.pixels[wrong] = 77
    (features,) = collect_features(
        Sides(), fit_set, ["rows"], FitSettings(reduction="flatten", unit_length=False), 0, tmp_path
    )
    assert features.counts.tolist() == [20, 30, 30]
    kept = torch.from_numpy(np.array(features.of_class(0)))
    right = fit_set.fetch(torch.nonzero((fit_set.labels == 0) & ~wrong).flatten())
    expected = Sides().rows(right).flatten(1)
    assert torch.allclose(kept.sort(0).values, expected.sort(0).values)


def test_the_cap_holds_per_class_and_the_stream_is_seeded(tmp_path: Path) -> None:
    tables = []
    for number, seed in enumerate([0, 0, 1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = FitSettings(max_per_class=7, batch_size=10)
        (features,) = collect_features(Sides(), image_set(90, 0), ["input"], settings, seed, folder)
        assert features.counts.tolist() == [7, 7, 7]
        tables.append(np.array(features.of_class(1)))
    assert (tables[0] == tables[1]).all()
    assert not (tables[0] == tables[2]).all()


def test_a_class_that_is_never_right_is_named() -> None:
    fit_set = image_set(30, 0)
    fit_set.pixels[fit_set.labels == 1] = 77
    with pytest.raises(BadInput, match="of class 'right', 0 are correctly classified"):
        fit_deep_validation(Sides(), fit_set, image_set(30, 1), SETTINGS, 0)


@pytest.mark.parametrize("nu", [0, 1, 1.5])
def test_a_share_outside_that_leaves_no_border_is_refused(nu: float) -> None:
    with pytest.raises(ValidationError, match="nu"):
        FitSettings(nu=nu)


def test_mistakes_are_named() -> None:
    images = image_set(30, 0)
    settings = FitSettings(layers=("rws",))
    with pytest.raises(BadInput, match="no layer 'rws'; did you mean 'rows'"):
        fit_deep_validation(Sides(), images, images, settings, 0)
    with pytest.raises(BadInput, match="needs 9 calibration images or more, there are 4"):
        fit_deep_validation(Sides(), images, Subset(images, torch.arange(6)), SETTINGS, 0)
    few = ArrayImages(images.pixels, images.labels, (*CLASSES[:2], "other"))
    with pytest.raises(BadInput, match="classes are not those"):
        fit_deep_validation(Sides(), images, few, SETTINGS, 0)
    two = ArrayImages(images.pixels, images.labels % 2, ("a", "b"))
    with pytest.raises(BadInput, match="gives 3 logits, the data has 2 classes"):
        fit_deep_validation(Sides(), two, two, SETTINGS, 0)


def test_the_model_is_left_as_it_was() -> None:
    model = Sides().train()
    model.head.eval()
    fit_deep_validation(model, image_set(90, 0), image_set(60, 1), SETTINGS, 0)
    assert model.training
    assert not model.head.training


@pytest.mark.parametrize(
    "settings",
    [{}, {"thresholds": "per_class"}, {"reduction": "grid", "grid": 2, "scaling": "standardise"}],
)
def test_a_saved_detector_is_the_same(tmp_path: Path, settings: dict[str, object]) -> None:
    chosen = SETTINGS.model_copy(update=settings)
    made = fit_deep_validation(Sides(), image_set(90, 0), image_set(60, 1), chosen, seed=0)
    save_detector(tmp_path / "detector", made)
    read = load_detector(tmp_path / "detector")
    assert read.layers == made.layers
    assert ENERGY in read.layers
    assert read.false_alarm_rate == made.false_alarm_rate
    images = image_set(12, 3).fetch(torch.arange(12))
    for one, other in zip(
        GuardedClassifier(Sides(), made)(images),
        GuardedClassifier(Sides(), read)(images),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["detector.json", "detector.safetensors"])
def test_a_damaged_detector_is_named(tmp_path: Path, detector: DeepValidation, name: str) -> None:
    save_detector(tmp_path / "detector", detector)
    file = tmp_path / "detector" / name
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(BadInput, match=name):
        load_detector(tmp_path / "detector")
    file.unlink()
    with pytest.raises(BadInput, match=name):
        load_detector(tmp_path / "detector")


def test_automatic_layers_may_be_cut_to_the_last_blocks() -> None:
    model = small_resnet(3, width=4).eval()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = watched_layers(model, images, FitSettings())
    assert whole == [INPUT, "stem", *(f"stages.stage{at}" for at in range(1, 5)), ENERGY]
    cut = watched_layers(model, images, FitSettings(last_blocks=2))
    assert cut == [INPUT, "stages.stage3", "stages.stage4", ENERGY]
    assert watched_layers(model, images, FitSettings(last_blocks=99)) == whole
    with pytest.raises(ValidationError, match="`last_blocks` cuts `layers: auto`"):
        FitSettings(layers=("stem",), last_blocks=2)
