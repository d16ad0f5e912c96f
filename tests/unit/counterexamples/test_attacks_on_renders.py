"""Every attack, by the rasterizer's gradients, on a model fitted to rendered procedural classes."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, one_hot

from offline.counterexamples import AttackSettings, find_counterexamples
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import SceneRanges, sample_scenes

CLASSES, SIZE = 12, 40
RENDERER = Rasterizer(SIZE, SIZE, samples=1)
ALIKE = SceneRanges(azimuth=(20, 50), elevation=(15, 25), shift=0.03, light_azimuth=20.0, noise=0.0)
STEPS = {"pose": 0.1, "translation": 0.05, "vertices": 0.01}
ATTACKS = {
    "sFGSM": {"steps": {"pose": 0.3, "translation": 0.15, "vertices": 0.03}},
    "si-FGSM": {"steps": STEPS},
    "sGD": {
        "steps": dict.fromkeys(STEPS, 0.3),
        "bounds": {"pose": 0.5, "translation": 0.25, "vertices": 0.03},
    },
    "sCW": {"steps": STEPS, "scw": {"weight": 10.0}},
}
# A long step may come down beyond what it climbs.
SHORT = {"pose": 0.03, "translation": 0.02, "vertices": 0.004}


class Ridge(nn.Module):
    """Logits that are linear in the pixels, pooled; fitted by least squares in closed form."""

    def __init__(self, images, labels):
        super().__init__()
        pixels = self.pooled(images)
        gram = pixels.T @ pixels + 2.0 * torch.eye(pixels.shape[1], device=images.device)
        wanted = one_hot(labels, CLASSES).to(pixels) - 1 / CLASSES
        self.register_buffer("weight", 10 * torch.linalg.solve(gram, pixels.T @ wanted))

    def pooled(self, images):
        pixels = avg_pool2d(images, 4).flatten(1)
        return torch.cat((pixels, torch.ones_like(pixels[:, :1])), dim=1)

    def forward(self, images):
        return self.pooled(images) @ self.weight


def drawn(count, seed, device):
    labels = torch.arange(count) % CLASSES
    scenes = sample_scenes(labels, torch.Generator().manual_seed(seed), SIZE, ALIKE)
    # The same grey behind all: the object alone says what it is.
    return scenes.replace(background=torch.full_like(scenes.background, 0.8)).to(device), labels.to(
        device
    )


@pytest.fixture(scope="module")
def fitted():
    models = {}

    def fit(device):
        if device not in models:
            scenes, labels = drawn(480, 0, device)
            with torch.no_grad():
                models[device] = Ridge(RENDERER.render(scenes), labels)
        return models[device], *drawn(36, 1, device)

    return fit


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_lowers_the_accuracy_and_raises_what_it_raises(attack, fitted, device):
    model, scenes, labels = fitted(device)
    settings = AttackSettings(attack=attack, **ATTACKS[attack])
    found = find_counterexamples(RENDERER, model, scenes, labels, settings, 16)
    figures = found.figures()
    assert figures["accuracy_before"] > 0.75
    assert figures["accuracy_after"] < figures["accuracy_before"] - 0.4
    going = found.renders > 1
    rise = found.loss[going, -1] - found.loss[going, 0]
    assert (rise > 0).float().mean() > 0.9
    for name, bound in settings.bounds.items():
        way = getattr(found.after, name) - getattr(found.before, name)
        assert way.abs().max() <= bound + 1e-6
    # Seen anew, the scenes that are kept fool the model as it was said.
    with torch.no_grad():
        images = RENDERER.render(found.after[found.success].to(device))
        assert (
            model(images).argmax(dim=1).cpu() != found.labels[found.success]
        ).float().mean() > 0.9


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_leads_towards_its_target(attack, fitted, device):
    model, scenes, labels = fitted(device)
    chosen = slice(0, 12)
    with torch.no_grad():
        logits = model(RENDERER.render(scenes[chosen]))
    target = int(logits.mean(dim=0).argmin())
    steps = dict.fromkeys(STEPS, 0.01) if attack == "sGD" else SHORT
    settings = AttackSettings(
        **{**ATTACKS[attack], "attack": attack, "target": target, "steps": steps}
    )
    found = find_counterexamples(RENDERER, model, scenes[chosen], labels[chosen], settings)
    going = found.renders > 1
    assert going.sum() >= 6
    assert (found.loss[going, -1] > found.loss[going, 0]).float().mean() > 0.8
    assert (found.predicted_after[found.success] == target).all()
    still = (labels[chosen].cpu() == target) | found.already_wrong
    assert torch.equal(~going, still)


@pytest.mark.parametrize("attack", ["si-FGSM", "sGD", "sCW"])
def test_what_becomes_of_a_scene_does_not_depend_on_its_batch(attack, fitted, device):
    model, scenes, labels = fitted(device)
    settings = AttackSettings(
        attack=attack, **{**ATTACKS[attack], "steps": {"pose": 0.1}, "bounds": {"pose": 0.5}}
    )
    whole, alone = (
        find_counterexamples(RENDERER, model, scenes[:12], labels[:12], settings, size)
        for size in (12, 1)
    )
    assert torch.equal(whole.success, alone.success)
    assert torch.equal(whole.renders, alone.renders)
    torch.testing.assert_close(whole.after.pose, alone.after.pose, atol=1e-3, rtol=0)
    torch.testing.assert_close(whole.loss, alone.loss, atol=1e-3, rtol=0)
