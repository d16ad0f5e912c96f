"""Semantic attacks where they coincide with those on pixels: torchattacks' BIM and CW, and SGD."""

import pytest
import torch
from backdrops import Backdrop, backdrops, case, network

from offline.counterexamples import AttackSettings, find_counterexamples

# Its old pin of `requests` makes that warn of the newer packages that it finds beside it.
pytestmark = pytest.mark.filterwarnings("ignore:.*doesn't match a supported version")


def found_by(model, images, labels, **settings):
    settings = AttackSettings(least_coverage=0.0, **settings)
    return find_counterexamples(Backdrop(), model, backdrops(images), labels, settings, 5)


def images_at_each_step(attack, images, labels, steps):
    reached = []
    for count in range(1, steps + 1):
        attack.steps = count
        reached.append(attack(images, labels))
    return torch.stack([images, *reached])


@pytest.mark.parametrize("target", [None, "least_likely", 2])
def test_si_fgsm_with_cross_entropy_and_a_bound_is_bim(target, device):
    import torchattacks

    model, images, labels = case(device)
    step, bound, steps = 0.004, 0.018, 6
    attack = torchattacks.BIM(model, eps=bound, alpha=step)
    wanted = labels
    if target is not None:
        attack.set_mode_targeted_by_label(quiet=True)
        wanted = torch.full_like(labels, 2)
        if target == "least_likely":
            wanted = model(images).argmin(dim=1)
    theirs = images_at_each_step(attack, images, wanted, steps)
    found = found_by(
        model, images, labels, attack="si-FGSM", iterations=steps, loss="cross_entropy",
        steps={"background": step}, bounds={"background": bound}, target=target,
    )  # fmt: skip
    # Ours stops at its first success: there BIM has come by the same image.
    stopped = found.renders - 1
    expected = theirs.cpu()[stopped, torch.arange(len(images))]
    same = (found.after.background - expected).abs() < 1e-6
    # A sign turns where a gradient is zero to rounding.
    assert same.float().mean() > 0.999
    assert stopped.max() == steps
    assert (stopped < steps).any() == (target != "least_likely")  # which is too far in 6 steps
    judged = model(found.after.background.to(device)).argmax(dim=1)
    hit = judged != labels if target is None else (judged == wanted) & (labels != wanted)
    assert torch.equal(found.success, hit.cpu())


def test_sgd_is_torchs_sgd_projected_onto_the_ball_and_the_box(device):
    model, images, labels = case(device)
    images[:, 0] = images[:, 0].round()  # at the borders of the box
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    step, bound, steps = 0.8, 0.02, 4
    theirs = images.clone().requires_grad_()
    sgd = torch.optim.SGD([theirs], lr=step)
    reached = [images]
    for _ in range(steps):
        sgd.zero_grad()
        model(theirs).gather(1, labels[:, None]).sum().backward()  # the raw score falls
        sgd.step()
        with torch.no_grad():
            theirs.copy_((images + (theirs - images).clamp(-bound, bound)).clamp(0, 1))
        reached.append(theirs.detach().clone())
    found = found_by(
        model, images, labels, attack="sGD", iterations=steps,
        steps={"background": step}, bounds={"background": bound},
    )  # fmt: skip
    stopped = found.renders - 1
    expected = torch.stack(reached).cpu()[stopped, torch.arange(len(images))]
    torch.testing.assert_close(found.after.background, expected, atol=1e-5, rtol=0)
    assert (found.after.background - images.cpu()).abs().max() == pytest.approx(bound, abs=1e-6)


@pytest.mark.parametrize(
    ("seed", "rank"), [(2, None), (2, 1), (1, 2), (3, 2), (3, 3)], ids=lambda value: str(value)
)
def test_scw_of_a_large_weight_is_cw(seed, rank, device):
    import torchattacks

    # Where all is grey, tanh space around the start is that of the box [0, 1].
    model, images = network(device, seed), torch.full((1, 3, 8, 8), 0.5, device=device)
    ranked = model(images).argsort(dim=1, descending=True)
    labels, wanted = ranked[:, 0], ranked[:, rank or 0]
    rate, weight = 0.02, 1e5  # so large that it does not matter whether the distance is squared
    found = found_by(
        model, images, labels, attack="sCW", iterations=40, scw={"weight": weight},
        steps={"background": rate / 2}, bounds={"background": 0.5},
        target=None if rank is None else int(wanted),
    )  # fmt: skip
    assert found.success.all()
    assert found.renders > 5
    theirs = torchattacks.CW(model, c=weight, kappa=0, steps=int(found.renders), lr=rate)
    if rank is not None:
        theirs.set_mode_targeted_by_label(quiet=True)
    expected = theirs(images, wanted).cpu()
    assert (expected - images.cpu()).abs().max() > 0.05
    torch.testing.assert_close(found.after.background, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("target", [None, 3])
def test_scw_descends_equations_4_and_5_by_torchs_adam(norm, target, device):
    model, images, labels = case(device)
    rate, weight, steps = 0.002, 5.0, 4
    offset = torch.zeros_like(images, requires_grad=True)
    adam, trace = torch.optim.Adam([offset], lr=rate), []
    for _ in range(steps + 1):
        logits = model(images + offset)
        if target is None:
            true = logits.gather(1, labels[:, None])[:, 0]
            ahead = true - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
        else:
            others = [number for number in range(5) if number != target]
            ahead = logits[:, others].amax(dim=1) - logits[:, target]
        cost = offset.flatten(1).norm(norm, dim=1) + weight * ahead.clamp_min(0)
        trace.append(-cost.detach())
        adam.zero_grad()
        cost.sum().backward()
        adam.step()
    found = found_by(
        model, images, labels, attack="sCW", iterations=steps, steps={"background": rate},
        scw={"weight": weight, "norm": norm}, target=target,
    )  # fmt: skip
    going = found.renders == steps + 1
    assert going.sum() > 5
    expected = torch.stack(trace, dim=1).cpu()
    torch.testing.assert_close(found.loss[going], expected[going], atol=1e-4, rtol=1e-4)
