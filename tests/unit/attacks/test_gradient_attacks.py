"""FGSM and PGD against torchattacks, and what an attack must leave as it was."""

import pytest
import torch
from torch import nn

from guard.errors import BadInput
from offline.attacks import cross_entropy, divergence_from, fgsm, margin, pgd, smoothed

# Its old pin of `requests` makes that warn of the newer packages that it finds beside it.
pytestmark = pytest.mark.filterwarnings("ignore:.*doesn't match a supported version")

EPSILON, STEP = 8 / 255, 2 / 255


def network(device):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(8 * 8 * 8, 5),
    )  # fmt: skip
    return layers.to(device)


@pytest.fixture
def case(device):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(16, 3, 10, 10, generator=generator).to(device)
    return network(device), images, torch.arange(16, device=device) % 5


def test_fgsm_is_torchattacks(case):
    import torchattacks

    model, images, labels = case
    theirs = torchattacks.FGSM(model.eval(), eps=EPSILON)(images, labels)
    ours = fgsm(model, images, labels, epsilon=EPSILON)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_pgd_is_torchattacks_from_the_same_random_start(case, device):
    import torchattacks

    model, images, labels = case
    attack = torchattacks.PGD(model.eval(), eps=EPSILON, alpha=STEP, steps=7, random_start=True)
    torch.manual_seed(3)
    theirs = attack(images, labels)
    generator = torch.Generator(device).manual_seed(3)
    ours = pgd(model, images, labels, epsilon=EPSILON, step_size=STEP, steps=7, generator=generator)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert not torch.allclose(ours, images, atol=STEP)


def test_pgd_kl_is_torchattacks_tpgd_from_the_same_start(case, device, monkeypatch):
    import torchattacks

    model, images, labels = case
    start = torch.empty_like(images)
    start.uniform_(-EPSILON, EPSILON, generator=torch.Generator(device).manual_seed(5))
    monkeypatch.setattr(torch, "randn_like", lambda _: start / 0.001)  # TPGD scales its normal draw
    theirs = torchattacks.TPGD(model.eval(), eps=EPSILON, alpha=STEP, steps=5)(images, labels)
    ours = pgd(
        model,
        images,
        labels,
        epsilon=EPSILON,
        step_size=STEP,
        steps=5,
        objective=divergence_from(model(images)),
        generator=torch.Generator(device).manual_seed(5),
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "objective", [cross_entropy, smoothed(0.3), margin], ids=["CE", "LS", "margin"]
)
def test_every_objective_rises_within_the_ball(objective, case):
    model, images, labels = case
    found = pgd(
        model, images, labels, epsilon=EPSILON, step_size=STEP, steps=10, objective=objective
    )
    with torch.no_grad():
        model.eval()
        before, after = objective(model(images), labels), objective(model(found), labels)
    assert (after > before).all()
    assert (found - images).abs().max() <= EPSILON + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_pgd_ls_without_smoothing_is_pgd_ce(case):
    model, images, labels = case
    settings = {"epsilon": EPSILON, "step_size": STEP, "steps": 5}
    plain = pgd(model, images, labels, **settings)
    torch.testing.assert_close(
        pgd(model, images, labels, **settings, objective=smoothed(0.0)), plain, atol=1e-6, rtol=0
    )
    eased = pgd(model, images, labels, **settings, objective=smoothed(0.7))
    assert not torch.allclose(eased, plain, atol=1e-3)


def test_an_attack_leaves_the_model_as_it_was(case):
    model, images, labels = case
    model.train()
    model[0].eval()
    model[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fgsm(model, images, labels, epsilon=EPSILON)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in model] == [False, True, True, True, True, True]
    assert [w.requires_grad for w in model.parameters()] == [True, False, True, True, True, True]
    assert all(weight.grad is None for weight in model.parameters())


def test_the_model_is_put_back_after_an_error(case):
    model, images, labels = case
    model.train()
    with pytest.raises(RuntimeError, match="channels"):
        fgsm(model, images[:, :2], labels, epsilon=EPSILON)
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [(8.0, "looks like units of 0 to 255: write 8/255"), (0.0, "0 < epsilon ≤ 1"), (-1.0, "0 <")],
)
def test_a_wrong_epsilon_is_refused(epsilon, words, case):
    model, images, labels = case
    with pytest.raises(BadInput, match=words):
        fgsm(model, images, labels, epsilon=epsilon)
