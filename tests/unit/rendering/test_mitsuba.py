"""Mitsuba against the rasterizer: images and gradients of the same scenes."""

import dataclasses
from functools import cache

import pytest
import torch
from rich_scenes import rich_scene
from torch.nn.functional import cosine_similarity, interpolate

from guard.errors import BadInput
from offline.rendering.composing import single
from offline.rendering.mitsuba import Mitsuba, missing
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import PARAMETERS, Scene, concatenate

LACKING = missing()
if LACKING is not None:
    pytest.skip(f"Mitsuba: {LACKING}", allow_module_level=True)
SIZE = 48


@pytest.fixture
def scenes() -> Scene:
    every = sample_scenes(torch.arange(12), torch.Generator().manual_seed(1), (40, SIZE))
    return every.with_gloss(torch.zeros(12, 1))


def test_images_and_coverage_agree_with_the_rasterizer(scenes: Scene) -> None:
    ours, theirs = Rasterizer(40, SIZE), Mitsuba(40, SIZE)
    assert isinstance(theirs, Renderer)
    difference = (ours.render(scenes) - theirs.render(scenes)).abs().mean(dim=(1, 2, 3))
    assert float(difference.max()) <= 0.02
    torch.testing.assert_close(theirs.coverage(scenes), ours.coverage(scenes), atol=0.01, rtol=0)


def test_the_same_call_gives_the_same_image_in_any_batch(scenes: Scene) -> None:
    renderer = Mitsuba(40, SIZE, samples=2)
    whole = renderer.radiance(scenes[:3])
    assert torch.equal(whole, renderer.radiance(scenes[:3]))
    assert torch.equal(whole[1:2], renderer.radiance(scenes[1:2]))
    assert not torch.equal(whole, Mitsuba(40, SIZE, samples=2, seed=1).radiance(scenes[:3]))


THINGS = (
    "directions of the environment", "pictures", "lamps", "fog", "smooth normals", "highlights",
)  # fmt: skip


def without(scene: Scene, what: str) -> Scene:
    """Leave one thing out of a scene that has everything."""
    around = scene.environment.clone()
    around[:, 1:] = 0
    left: tuple[dict[str, torch.Tensor], ...] = (
        {"environment": around},
        {"tile": torch.full_like(scene.tile, -1)},
        {"lamps": scene.lamps[:, :0]},
        {"fog": torch.zeros_like(scene.fog)},
        {"smoothing": torch.full_like(scene.smoothing, -1)},
        {"gloss": torch.zeros_like(scene.gloss)},
    )
    return dataclasses.replace(scene, **left[THINGS.index(what)])


@cache
def _radiance(mitsuba: bool, lacking: str | None) -> torch.Tensor:
    """Of a batch that is padded: three objects with everything, and one without anything."""
    bare = single([assemble("ball", [ball((1.0, 0.7, 0.5), (0.8, 0.3, 0.2), 5, 8)])])
    scene = concatenate([rich_scene(0), rich_scene(1), bare])
    scene = without(scene, lacking) if lacking else scene
    return (Mitsuba(SIZE, SIZE, samples=8) if mitsuba else Rasterizer(SIZE, SIZE)).radiance(scene)


@pytest.mark.parametrize("what", THINGS)
def test_each_thing_looks_as_the_rasterizer_draws_it(what: str) -> None:
    """Measured by what it changes in the image, so that a small one counts as much."""
    ours, theirs = (_radiance(each, None) - _radiance(each, what) for each in (False, True))
    assert float(ours.abs().mean()) > 3e-4
    assert float((ours - theirs).norm() / ours.norm()) <= 0.1


def test_images_of_everything_agree_with_the_rasterizers() -> None:
    difference = (_radiance(False, None) - _radiance(True, None)).abs().mean(dim=(1, 2, 3))
    assert float(difference.max()) <= 0.005


@cache
def _gradients(mitsuba: bool, rich: bool) -> dict[str, torch.Tensor]:
    """Of four smooth functionals of the image of a ball of flat faces, before a picture.

    Or, if it is to be rich, of a scene that has everything.
    """
    generator = torch.Generator().manual_seed(11)

    def smooth(count: int) -> torch.Tensor:
        coarse = torch.randn(count, 3, 6, 6, generator=generator)
        return interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)

    matt = single([assemble("ball", [ball((1.0, 0.7, 0.5), (0.8, 0.3, 0.2), 8, 12)])])
    matt = matt.replace(pose=torch.tensor([[[0.3, -0.5, 0.2]]]))
    scene, names = (rich_scene(0), PARAMETERS) if rich else (matt, COMPARED)
    scene = scene.replace(background=(0.5 + 0.15 * smooth(1)).clamp(0.1, 0.9))
    functionals = smooth(4)
    theta = {name: scene.parameters()[name].clone().requires_grad_() for name in names}
    renderer = Mitsuba(SIZE, SIZE, samples=8) if mitsuba else Rasterizer(SIZE, SIZE, samples=4)
    image = renderer.render(scene.replace(**theta))
    parts = [
        torch.autograd.grad((image * weight).sum(), list(theta.values()), retain_graph=True)
        for weight in functionals
    ]
    return {
        name: torch.stack([part[i] for part in parts]).flatten() for i, name in enumerate(names)
    }


COMPARED = (
    "pose", "translation", "scale", "vertices", "colour", "light", "camera", "background",
)  # fmt: skip


@pytest.mark.parametrize(
    ("rich", "name"),
    [*((False, name) for name in COMPARED), *((True, name) for name in PARAMETERS)],
)
def test_gradient_agrees_with_the_rasterizers(rich: bool, name: str) -> None:
    found, wanted = _gradients(True, rich)[name], _gradients(False, rich)[name]
    assert cosine_similarity(found, wanted, dim=0) >= 0.95
    assert (found.norm() / wanted.norm()).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["lamps", "environment", "fog", "texture"])
def test_gradient_of_shading_agrees_with_finite_differences(name: str) -> None:
    """The places of rays stay the same, so the image is as smooth in these as its formulas are."""
    scene = rich_scene(0)
    renderer = Mitsuba(24, 24, samples=8)
    value = scene.parameters()[name]
    direction = torch.rand(value.shape, generator=torch.Generator().manual_seed(5))
    changed = value.clone().requires_grad_()
    weight = torch.linspace(0.2, 1, 24)
    image = renderer.radiance(scene.replace(**{name: changed}))
    (slope,) = torch.autograd.grad((image * weight).sum(), changed)
    ahead, behind = (
        renderer.radiance(scene.replace(**{name: value + step * direction})).double()
        for step in (0.01, -0.01)
    )
    wanted = float(((ahead - behind) * weight).sum() / 0.02)
    assert float((slope * direction).sum()) == pytest.approx(wanted, rel=0.05)


def test_what_no_part_of_the_image_shows_has_a_gradient_of_zeros() -> None:
    """Pictures and lamps that there are none of, and pictures that no face shows."""
    bare = single([assemble("ball", [ball((1.0, 0.7, 0.5), (0.8, 0.3, 0.2), 5, 8)])])
    for scene in (bare, without(rich_scene(0), "pictures")):
        theta = {k: v.clone().requires_grad_() for k, v in scene.parameters().items()}
        image = Mitsuba(16, 16, samples=2).render(scene.replace(**theta))
        found = dict(
            zip(theta, torch.autograd.grad(image.sum(), list(theta.values())), strict=True)
        )
        assert all(
            found[k].shape == v.shape and found[k].isfinite().all() for k, v in theta.items()
        )
        assert float(found["texture"].abs().sum()) == 0
        assert float(found["vertices"].abs().sum()) > 0


def test_a_parameter_that_is_not_finite_is_named(scenes: Scene) -> None:
    colour = scenes.colour.clone()
    colour[1] = float("nan")
    with pytest.raises(BadInput, match="scene 1: parameter 'colour'"):
        Mitsuba(40, SIZE).render(scenes.replace(colour=colour))
