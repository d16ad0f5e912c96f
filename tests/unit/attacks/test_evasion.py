"""The attack that knows the detector: its objective against references, and what it finds."""

from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import OneClassSVM
from torch import nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import Standardisation, Statistics
from guard.validators import DistanceValidator, Energy, Validator
from offline.attacks import Move, ascend, evading, held_still, margin, pgd, pgd_against_guard
from offline.datasets import ArrayImages, split
from offline.fitting import FitSettings, fit_deep_validation
from offline.hardening import TrainSettings, train

# Its old pin of `requests` makes that warn of the newer packages that it finds beside it.
pytestmark = pytest.mark.filterwarnings("ignore:.*doesn't match a supported version")

EPSILON, STEP, STEPS = 0.1, 0.02, 7


def machines(points, gamma=0.5):
    return [OneClassSVM(gamma=gamma, nu=0.2).fit(some) for some in points]


def joined(fitted):
    return OneClassSVMs.from_solutions(
        [
            Solution(m.support_vectors_, m.dual_coef_[0], float(m.offset_[0]), float(m.gamma))
            for m in fitted
        ]
    )


@pytest.fixture(scope="module", params=[Validator, DistanceValidator])
def two_classes(request: pytest.FixtureRequest) -> GuardedClassifier:
    """Two classes, one probe of channel statistics and the energy; smooth, for derivatives."""
    kind = request.param
    torch.manual_seed(0)
    layers = OrderedDict(
        conv=nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh()),
        flatten=nn.Flatten(),
        head=nn.Linear(3 * 16, 2),
    )
    model = nn.Sequential(layers).eval()
    images = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = Statistics()(model.conv(images))
    scaling = Standardisation(features.mean(0), 1 / features.std(0))
    points = scaling(features).double().numpy()
    svms = joined(machines([points[:30], points[30:]], gamma=0.05))
    detector = DeepValidation(
        [kind("conv", Statistics(), scaling, svms), Energy(torch.full((2,), 50.0))]
    )
    detector.joining = StandardisedSum(
        torch.tensor([[0.1, 0.2], [-1.0, -1.5]]),
        torch.tensor([[3.0, 2.0], [0.5, 0.7]]),
        torch.tensor([1.0, 1.5]),
    )
    detector.threshold = torch.zeros(1)
    return GuardedClassifier(model, detector)


@pytest.fixture(scope="module")
def images():
    return torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(2)) * 0.8 + 0.1


def judged(guarded, images, weight, confidence=1e9):
    targets = 1 - guarded.model(images).argmax(dim=1)
    weights = torch.full((len(images),), weight, dtype=images.dtype)
    judge = evading(guarded, targets, weights, confidence)
    return lambda pixels: judge({"images": pixels}, torch.arange(len(images))).value


def test_the_objective_bounds_the_detectors_own_score(two_classes, images):
    value = judged(two_classes, images, 1.0)(images)
    targets = 1 - two_classes.model(images).argmax(dim=1)
    points = []
    evading(two_classes, targets, torch.ones(8), 1e9, lambda *seen: points.append(seen))(
        {"images": images}, torch.arange(8)
    )
    ((rows, seen, lead, score),) = points
    assert rows.tolist() == list(range(8))
    assert torch.equal(seen, images)
    torch.testing.assert_close(lead, -margin(two_classes.model(images), targets))
    assert (lead - value >= score - 1e-5).all()
    # Under the class that it predicts, the score is what the guarded model says.
    own = two_classes(images)
    points.clear()
    evading(two_classes, own.label, torch.ones(8), 1e9, lambda *seen: points.append(seen))(
        {"images": images}, torch.arange(8)
    )
    torch.testing.assert_close(points[0][3], own.score)


@pytest.mark.parametrize("weight", [0.0, 0.3, 20.0])
def test_the_gradient_is_that_of_finite_differences(two_classes, images, weight):
    exact = deepcopy(two_classes).double()
    pixels = images[:2].double()
    objective = judged(exact, pixels, weight)
    assert torch.autograd.gradcheck(objective, pixels.requires_grad_(), atol=1e-6)


def test_without_weight_it_is_torchattacks_targeted_pgd(two_classes, images):
    """For two classes the margin and the cross entropy have gradients of the same sign."""
    import torchattacks

    targets = 1 - two_classes.model(images).argmax(dim=1)
    attack = torchattacks.PGD(two_classes.model, eps=EPSILON, alpha=STEP, steps=STEPS)
    attack.set_mode_targeted_by_label(quiet=True)
    torch.manual_seed(3)
    theirs = attack(images, targets)
    judge = evading(two_classes, targets, torch.zeros(8), confidence=1e9)
    move = {"images": Move(STEP, bound=EPSILON, box=(0.0, 1.0))}
    with held_still(two_classes):
        ours = ascend(
            judge, {"images": images}, move, STEPS, generator=torch.Generator().manual_seed(3)
        )["images"]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert (ours - images).abs().max() > EPSILON / 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"restarts": 2}, "restarts is 2; 1 to 1, the wrong classes"),
        ({"restarts": 0}, "restarts is 0"),
        ({"epsilon": 8.0}, "write 8/255"),
    ],
)
def test_bad_arguments_are_refused(two_classes, images, wrong, words):
    arguments = {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "restarts": 1, **wrong}
    with pytest.raises(BadInput, match=words):
        pgd_against_guard(
            two_classes,
            images,
            two_classes.model(images).argmax(dim=1),
            generator=torch.Generator().manual_seed(0),
            **arguments,
        )


def test_it_evades_where_plain_pgd_is_caught():
    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).byte().unsqueeze(1)
    whole = ArrayImages(pixels, torch.from_numpy(digits.target).long(), tuple("0123456789"))
    rest, test = split(whole, 0.3, 0)
    fit_set, calibration_set = split(rest, 0.3, 0)
    torch.manual_seed(0)
    layers = OrderedDict(
        block=nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        flatten=nn.Flatten(),
        dense=nn.Sequential(nn.Linear(144, 32), nn.ReLU()),
        head=nn.Linear(32, 10),
    )
    model = nn.Sequential(layers)
    train(model, fit_set, TrainSettings(epochs=10, learning_rate=0.05, batch_size=32), 0)
    settings = FitSettings(layers=("block", "dense", "energy"), jobs=1)
    guarded = GuardedClassifier(
        model, fit_deep_validation(model, fit_set, calibration_set, settings, 0)
    ).eval()
    images, labels = test.fetch(torch.arange(40)), test.labels[:40]
    found = pgd_against_guard(
        guarded,
        images,
        labels,
        epsilon=0.15,
        step_size=0.015,
        steps=20,
        generator=torch.Generator().manual_seed(0),
        searches=3,
        restarts=2,
    )
    plainly = pgd(model, images, labels, epsilon=0.15, step_size=0.015, steps=20)
    with torch.no_grad():
        seen, plain = guarded(found.images), guarded(plainly)
    assert (found.images - images).abs().max() <= 0.15 + 1e-6
    assert found.fooled.float().mean() > 0.5
    assert torch.equal(found.fooled, found.score.isfinite())
    assert (seen.label != labels)[found.fooled].all()
    torch.testing.assert_close(seen.score[found.fooled], found.score[found.fooled])
    assert torch.equal(found.images[~found.fooled], images[~found.fooled])
    wrong = plain.label != labels
    assert (found.score < plain.score)[wrong].float().mean() > 0.9
    missed = wrong & plain.valid
    evaded = found.score <= guarded.detector.threshold
    assert evaded.float().mean() > missed.float().mean() + 0.05
