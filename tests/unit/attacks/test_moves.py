"""Adam's moves against torch's own Adam, step by step, and boxes of several numbers."""

import pytest
import torch

from offline.attacks import AdamMove, Judgement, Move, ascend

START = torch.tensor([[1.0, -2.0, 0.3], [0.5, 0.0, -0.7]])


def hills(x):
    """A value of each row with slopes from 1e-3 to 1e3, and of both signs."""
    steep = torch.tensor([1.0, 1e3, 1e-3], device=x.device)
    return (steep * (3 * x).sin() * x).sum(dim=1)


def raised(move, steps, device):
    start = START.to(device)
    return ascend(lambda t, _: Judgement(hills(t["x"])), {"x": start}, {"x": move}, steps)["x"]


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_without_a_bound_it_is_torchs_adam(steps, device):
    theirs = START.to(device, copy=True).requires_grad_()
    adam = torch.optim.Adam([theirs], lr=0.3, maximize=True)
    for _ in range(steps):
        adam.zero_grad()
        hills(theirs).sum().backward()
        adam.step()
    torch.testing.assert_close(raised(AdamMove(0.3), steps, device), theirs.detach())


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_with_a_bound_it_is_torchs_adam_in_tanh_space(steps, device):
    bound, start = 0.4, START.to(device)
    w = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.3, maximize=True)
    for _ in range(steps):
        adam.zero_grad()
        hills(start + bound * (w / bound).tanh()).sum().backward()
        adam.step()
    theirs = (start + bound * (w / bound).tanh()).detach()
    ours = raised(AdamMove(0.3, bound=bound), steps, device)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_at_the_border_of_the_ball_it_stays_finite_and_inside():
    found = raised(AdamMove(50.0, bound=0.4), 30, "cpu")
    assert found.isfinite().all()
    assert (found - START).abs().max() <= 0.4 + 1e-6
    assert (found - START).abs().max() > 0.39


def test_rows_that_leave_do_not_change_the_others():
    def judge(theta, rows):
        # The first row is done after two steps.
        judge.looks += 1
        return Judgement(hills(theta["x"]), (rows == 0) & (judge.looks > 2))

    judge.looks = 0
    found = ascend(judge, {"x": START}, {"x": AdamMove(0.3)}, 6)["x"]
    torch.testing.assert_close(found[0], raised(AdamMove(0.3), 2, "cpu")[0], atol=0, rtol=0)
    torch.testing.assert_close(found[1], raised(AdamMove(0.3), 6, "cpu")[1], atol=0, rtol=0)


@pytest.mark.parametrize("kind", [Move, AdamMove])
def test_a_box_has_a_number_for_each_place_along_the_last_axis(kind, device):
    never = float("inf")
    move = kind(5.0, box=((-never, -2.5, 0.0), (never, never, 0.4)))
    found = raised(move, 1, device)
    assert (found[:, 0] - START[:, 0].to(device)).abs().tolist() == pytest.approx([5.0, 5.0])
    assert found[:, 1].min() >= -2.5
    assert ((found[:, 2] >= 0) & (found[:, 2] <= 0.4)).all()
