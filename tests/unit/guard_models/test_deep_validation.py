"""Joint discrepancy, p-value and verdict, on a detector small enough to follow by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import ENERGY, Flatten, Standardisation
from guard.validators import DistanceValidator, Energy, Validator


def validator(layer: str, gamma: float, kind: type[Validator] = DistanceValidator) -> Validator:
    """One support vector at (label, 0), weight 1, offset 0.5: |w| is 1, distance k(x, v) - 0.5."""
    solutions = [
        Solution(np.array([[float(label), 0.0]]), np.ones(1), 0.5, gamma) for label in range(2)
    ]
    scaling = Standardisation(torch.zeros(2), torch.ones(2))
    return kind(layer, Flatten(), scaling, OneClassSVMs.from_solutions(solutions))


@pytest.fixture
def detector() -> DeepValidation:
    made = DeepValidation([validator("a", 1.0), validator("b", 2.0)])
    made.calibration = torch.tensor([-1.0, -0.5, 0.0, 0.5])
    made.calibration_group = torch.zeros(4, dtype=torch.int64)
    made.threshold = torch.tensor([0.5])
    return made


ROWS = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 1, 0])


def test_discrepancy_is_minus_the_distance_and_the_joint_their_sum(
    detector: DeepValidation,
) -> None:
    found = detector({"a": ROWS, "b": ROWS}, LABELS)
    expected = torch.tensor(
        [[0.5 - math.exp(-gamma * square) for gamma in (1, 2)] for square in (0, 1, 9)]
    )
    assert torch.allclose(found.discrepancy, expected, atol=1e-6)
    assert torch.allclose(found.score, expected.sum(1), atol=1e-6)
    assert found.valid.tolist() == [True, True, False]


def test_the_log_ratio_grows_where_the_distance_has_reached_its_bound() -> None:
    """With one vector of weight 1 and offset 0.5 it is γ |x - v|² + log 0.5."""
    far = torch.tensor([[0.0, 0.0], [3.0, 4.0], [30.0, 40.0]])
    found = validator("a", 2.0, Validator)(far, torch.zeros(3, dtype=torch.int64))
    expected = [2 * square + math.log(0.5) for square in (0, 25, 2500)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_standardised_joint_is_taken_at_the_predicted_class(detector: DeepValidation) -> None:
    detector.joining = StandardisedSum(
        torch.tensor([[0.0, 1.0], [0.0, 2.0]]),
        torch.tensor([[1.0, 10.0], [1.0, 100.0]]),
        torch.tensor([1.0, 3.0]),
    )
    joint = detector.joint(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([0, 1]))
    expected = [
        math.asinh(3) + 3 * math.asinh(4),
        math.asinh(20) + 3 * math.asinh(200),
    ]
    assert joint.tolist() == pytest.approx(expected)


def test_energy_is_minus_the_log_of_the_sum_of_exponentials_up_to_the_surest() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [1000.0, 1000.0], [9.0, -math.inf], [9.0, 2.0]])
    labels = torch.tensor([1, 0, 0, 1])
    found = Energy(torch.tensor([5000.0, 8.0]))(logits, labels)
    assert found.tolist() == pytest.approx([-math.log(4), -1000 - math.log(2), -9.0, -8.0])


def test_energy_that_is_no_number_stays_none_and_endless_sureness_is_worth_the_ceiling() -> None:
    logits = torch.tensor([[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
    nan, sure, faint = Energy(torch.tensor([7.0]))(logits, torch.zeros(3, dtype=torch.int64))
    assert nan.isnan()
    assert sure == -7.0
    assert faint == math.inf


def test_energy_joins_in_its_place_and_reads_the_logits() -> None:
    detector = DeepValidation([Energy(torch.tensor([9.0, 9.0])), validator("input", 1.0)])
    assert detector.layers == (ENERGY, "input")
    images = torch.tensor([[[[0.2]], [[0.9]]]])
    output = GuardedClassifier(nn.Flatten(), detector)(images)
    distance = math.exp(-((0.2 - 1) ** 2) - 0.9**2) - 0.5
    expected = [-math.log(math.exp(0.2) + math.exp(0.9)), -distance]
    assert output.discrepancy[0].tolist() == pytest.approx(expected)
    assert output.score.item() == pytest.approx(sum(expected))


@pytest.mark.parametrize(
    ("score", "p_value"), [(-2, 1.0), (-1, 1.0), (-0.7, 0.8), (0, 0.6), (0.5, 0.4), (0.6, 0.2)]
)
def test_p_values(detector: DeepValidation, score: float, p_value: float) -> None:
    found = detector.p_value(torch.tensor([float(score)]), torch.tensor([1]))
    assert found.item() == pytest.approx(p_value)


def test_mondrian_p_values_and_scores_are_those_of_the_predicted_class(
    detector: DeepValidation,
) -> None:
    detector.group, detector.offset = torch.tensor([0, 1]), torch.tensor([0.25, 2.0])
    detector.calibration_group = torch.tensor([1, 0, 0, 0])
    score, label = torch.tensor([-0.7, -0.7, 0.0, 0.0, 9.0]), torch.tensor([0, 1, 0, 1, 0])
    expected = [4 / 4, 1 / 2, 3 / 4, 1 / 2, 1 / 4]
    assert detector.p_value(score, label).tolist() == pytest.approx(expected)
    joint = detector.joint(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([0, 1]))
    assert joint.tolist() == [6.75, 5.0]


def test_what_is_no_number_is_never_valid(detector: DeepValidation) -> None:
    rows = torch.tensor([[math.nan, 0.0], [math.inf, 0.0]])
    found = detector({"a": rows, "b": rows}, torch.tensor([0, 0]), torch.tensor([1e30]))
    assert found.score.isnan().all()
    assert not found.valid.any()
    assert found.p_value.tolist() == pytest.approx([0.2, 0.2])


def test_before_calibration_nothing_is_valid() -> None:
    fresh = DeepValidation([validator("a", 1.0)])
    assert not fresh({"a": ROWS}, LABELS).valid.any()


def test_a_threshold_given_at_run_time_wins(detector: DeepValidation) -> None:
    activations = {"a": ROWS, "b": ROWS}
    assert not detector(activations, LABELS, torch.tensor([-9.0])).valid.any()
    assert detector(activations, LABELS, torch.tensor([9.0])).valid.all()


def test_a_layer_that_did_not_run_or_gives_no_tensor_is_named(detector: DeepValidation) -> None:
    with pytest.raises(BadInput, match="'b' did not run"):
        detector({"a": ROWS}, LABELS)
    with pytest.raises(BadInput, match="'b' gives"):
        detector({"a": ROWS, "b": torch.ones(3)}, LABELS)


@pytest.mark.parametrize(
    ("model", "seen"), [(nn.Identity(), r"\[2, 1, 2, 1\]"), (nn.Flatten(0), r"\[4\]")]
)
def test_a_model_without_logits_is_refused(model: nn.Module, seen: str) -> None:
    detector = DeepValidation([validator("input", 1.0)])
    with pytest.raises(BadInput, match=rf"its output is {seen}; logits \[batch, class\]"):
        GuardedClassifier(model, detector)(torch.zeros(2, 1, 2, 1))


def test_the_logits_pass_unchanged_and_the_label_is_their_largest() -> None:
    detector = DeepValidation([validator("input", 1.0)])
    images = torch.tensor([[[[0.2]], [[0.9]]], [[[0.7]], [[0.1]]]])
    output = GuardedClassifier(nn.Flatten(), detector)(images)
    assert torch.equal(output.logits, images.flatten(1))
    assert output.label.tolist() == [1, 0]
