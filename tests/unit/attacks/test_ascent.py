"""The one loop on functions whose every step can be worked out by hand."""

import pytest
import torch

from guard.errors import BadInput
from offline.attacks import Judgement, Move, ascend, raw, sign, unit


def parabola(theta, rows):
    """Judge by Σ −x², whose gradient is −2x."""
    return Judgement(-theta["x"].square().sum(dim=1))


@pytest.mark.parametrize(
    ("move", "steps", "expected"),
    [
        (Move(0.25, sign), 3, (0.25, -1.25)),
        (Move(0.25, raw), 2, (0.25, -0.5)),  # each step multiplies by 1 − 2 · 0.25
        (Move(1.0, unit), 1, (1 - 1 / 5**0.5, -2 + 2 / 5**0.5)),
        (Move(0.25, sign, bound=0.4), 3, (0.6, -1.6)),
        (Move(0.25, raw, bound=0.4), 2, (0.6, -1.6)),
        (Move(0.25, sign, box=(-1.9, 0.7)), 1, (0.7, -1.75)),
        (Move(0.25, sign, bound=0.4, box=(-1.8, 0.5)), 1, (0.5, -1.75)),
        (Move(0.25, sign, box=((0.8, -9.0), (9.0, -1.9))), 1, (0.8, -1.9)),
        (Move(0.25, sign), 0, (1.0, -2.0)),
    ],
)
def test_steps_by_hand(move, steps, expected, device):
    start = torch.tensor([[1.0, -2.0]], device=device)
    found = ascend(parabola, {"x": start}, {"x": move}, steps)["x"]
    assert start.tolist() == [[1.0, -2.0]]  # the origin is not written to
    torch.testing.assert_close(found.cpu(), torch.tensor([expected]))


def test_names_move_by_their_own_step_and_the_rest_stays():
    origin = {"x": torch.tensor([[1.0]]), "y": torch.tensor([[1.0]]), "z": torch.tensor([[1.0]])}

    def judge(theta, rows):
        return Judgement((theta["x"] * theta["y"]).sum(dim=1))

    found = ascend(judge, origin, {"x": Move(0.5), "y": Move(0.125)}, 2)
    assert {name: value.item() for name, value in found.items()} == {"x": 2.0, "y": 1.25}


def test_rows_that_are_done_keep_their_tensors_and_leave_the_batch():
    seen = []

    def judge(theta, rows):
        seen.append(rows.tolist())
        x = theta["x"][:, 0]
        return Judgement(x, x >= torch.tensor([0.5, 1.0, -1.0])[rows])

    start = torch.zeros(3, 1)
    found = ascend(judge, {"x": start}, {"x": Move(0.25)}, 6)["x"]
    assert found[:, 0].tolist() == [0.5, 1.0, 0.0]
    assert seen == [[0, 1, 2], [0, 1], [0, 1], [1], [1]]


def test_a_step_out_of_the_feasible_set_is_halved_until_it_is_inside():
    asked = []

    def judge(theta, rows):
        return Judgement(theta["x"].sum(dim=1))

    def feasible(theta, rows):
        asked.append(rows.tolist())
        return theta["x"][:, 0] <= torch.tensor([0.6, 10.0, -1.0])[rows]

    start = torch.zeros(3, 1)
    found = ascend(judge, {"x": start}, {"x": Move(0.5)}, 2, feasible=feasible)["x"]
    # Row 0: 0.5; then 1.0, 0.75 and 0.625 are refused, 0.5625 is not. Row 2 may go nowhere.
    assert found[:, 0].tolist() == [0.5625, 1.0, 0.0]
    assert asked[:5] == [[0, 1, 2], [2], [2], [2], [2]]
    assert asked[5:] == [[0, 1, 2], [0, 2], [0, 2], [0, 2], [2]]


def test_a_value_without_a_gradient_is_named():
    with pytest.raises(BadInput, match="no gradient in x, y"):
        ascend(
            lambda theta, rows: Judgement(torch.ones(2)),
            {"x": torch.zeros(2, 1), "y": torch.zeros(2, 1)},
            {"x": Move(0.5), "y": Move(0.5)},
            1,
        )


def test_a_gradient_that_is_not_finite_moves_nothing():
    def judge(theta, rows):
        return Judgement(theta["x"].sqrt().sum(dim=1))  # infinite slope at 0

    found = ascend(judge, {"x": torch.tensor([[0.0, 1.0]])}, {"x": Move(0.5)}, 1)["x"]
    assert found.tolist() == [[0.0, 1.5]]


def test_the_random_start_fills_the_ball_and_follows_its_generator():
    origin = {"x": torch.full((4, 1000), 0.9)}
    move = {"x": Move(0.1, bound=0.2, box=(0.0, 1.0))}

    def start(seed):
        generator = torch.Generator().manual_seed(seed)
        return ascend(parabola, origin, move, 0, generator=generator)["x"]

    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))
    assert 0.7 <= start(0).min() < 0.702
    assert start(0).max() == 1.0
    inside = start(0)[start(0) < 1.0]
    assert inside.mean().item() == pytest.approx(0.85, abs=0.005)
