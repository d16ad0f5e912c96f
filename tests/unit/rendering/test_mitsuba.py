"""Mitsuba against the rasterizer: images and gradients of the same scenes; what is missing."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from guard.errors import BadInput, CornerguardError
from offline.rendering.composing import single
from offline.rendering.mitsuba import Mitsuba, missing
from offline.rendering.mitsuba.llvm import find_llvm
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import Scene

SIZE = 48


LACKING = missing()
needs_mitsuba = pytest.mark.skipif(LACKING is not None, reason=f"Mitsuba: {LACKING}")


def test_a_machine_without_llvm_is_told_the_package() -> None:
    with pytest.raises(CornerguardError, match="missing: `apt install libllvm19`"):
        find_llvm([])


@pytest.mark.parametrize("name", ["libLLVM-15.so.1", "libLLVM-16.so", "libLLVM.so.16.0", "x.so"])
def test_an_llvm_that_ends_the_process_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CornerguardError, match=f"{name} is older or cannot be loaded"):
        find_llvm([tmp_path / name])


def test_the_newest_llvm_is_taken(tmp_path: Path) -> None:
    paths = [
        tmp_path / name for name in ("libLLVM-9.so.1", "libLLVM.so.19.1", "libLLVM-18.1.8.so.1")
    ]
    for path in paths:
        path.touch()
    assert find_llvm(paths) == paths[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0}, "0 x 16 pixels"),
        ({"samples": 0}, "0 samples"),
        ({"variant": "scalar_rgb"}, "allowed are llvm_ad_rgb, cuda_ad_rgb"),
        ({"seed": -1}, "seed -1: allowed"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, int | str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Mitsuba(**{"height": 16, "width": 16, **values})


@pytest.fixture
def scenes() -> Scene:
    every = sample_scenes(torch.arange(12), torch.Generator().manual_seed(1), (40, SIZE))
    return every.with_gloss(torch.zeros(12, 1))


@needs_mitsuba
def test_images_and_coverage_agree_with_the_rasterizer(scenes: Scene) -> None:
    ours, theirs = Rasterizer(40, SIZE), Mitsuba(40, SIZE)
    assert isinstance(theirs, Renderer)
    difference = (ours.render(scenes) - theirs.render(scenes)).abs().mean(dim=(1, 2, 3))
    assert float(difference.max()) <= 0.02
    torch.testing.assert_close(theirs.coverage(scenes), ours.coverage(scenes), atol=0.01, rtol=0)


@needs_mitsuba
def test_the_same_call_gives_the_same_image_in_any_batch(scenes: Scene) -> None:
    renderer = Mitsuba(40, SIZE, samples=2)
    whole = renderer.radiance(scenes[:3])
    assert torch.equal(whole, renderer.radiance(scenes[:3]))
    assert torch.equal(whole[1:2], renderer.radiance(scenes[1:2]))
    assert not torch.equal(whole, Mitsuba(40, SIZE, samples=2, seed=1).radiance(scenes[:3]))


@cache
def _gradients(mitsuba: bool) -> dict[str, torch.Tensor]:
    """Of four smooth functionals of the image of a ball of flat faces, before a picture."""
    generator = torch.Generator().manual_seed(11)

    def smooth(count: int) -> torch.Tensor:
        coarse = torch.randn(count, 3, 6, 6, generator=generator)
        return interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)

    scene = single([assemble("ball", [ball((1.0, 0.7, 0.5), (0.8, 0.3, 0.2), 8, 12)])])
    scene = scene.replace(
        pose=torch.tensor([[[0.3, -0.5, 0.2]]]),
        background=(0.5 + 0.15 * smooth(1)).clamp(0.1, 0.9),
    )
    functionals = smooth(4)
    theta = {name: scene.parameters()[name].clone().requires_grad_() for name in COMPARED}
    renderer = Mitsuba(SIZE, SIZE, samples=8) if mitsuba else Rasterizer(SIZE, SIZE, samples=4)
    image = renderer.render(scene.replace(**theta))
    parts = [
        torch.autograd.grad((image * weight).sum(), list(theta.values()), retain_graph=True)
        for weight in functionals
    ]
    return {
        name: torch.stack([part[i] for part in parts]).flatten() for i, name in enumerate(COMPARED)
    }


COMPARED = (
    "pose", "translation", "scale", "vertices", "colour", "light", "camera", "background",
)  # fmt: skip


@needs_mitsuba
@pytest.mark.parametrize("name", COMPARED)
def test_gradient_agrees_with_the_rasterizers(name: str) -> None:
    found, wanted = _gradients(True)[name], _gradients(False)[name]
    assert cosine_similarity(found, wanted, dim=0) >= 0.95
    assert (found.norm() / wanted.norm()).item() == pytest.approx(1, abs=0.1)


@needs_mitsuba
@pytest.mark.parametrize("name", ["lamps", "environment", "fog", "texture"])
def test_gradient_of_shading_agrees_with_finite_differences(name: str) -> None:
    """The places of rays stay the same, so the image is as smooth in these as its formulas are."""
    scene = _decorated()
    renderer = Mitsuba(24, 24, samples=8)
    value = scene.parameters()[name]
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(5))
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


def _decorated() -> Scene:
    """A ball with a picture of 4 x 5 texels under a lamp, in fog."""
    scene = single([assemble("ball", [ball((1.0, 0.7, 0.5), (0.8, 0.7, 0.6), 8, 12)])])
    generator = torch.Generator().manual_seed(3)
    faces = scene.faces.shape[1]
    tensors = scene.tensors() | {
        "uv": torch.rand(1, faces, 3, 2, generator=generator),
        "tile": torch.zeros(1, faces, dtype=torch.int64),
        "tiles": torch.tensor([[[1, 2, 4, 5]]]),
        "texture": 0.3 + 0.7 * torch.rand(1, 3, 6, 8, generator=generator),
        "lamps": torch.tensor([[[1.0, 1.5, 2.0, 2.0, 3.0, 1.0]]]),
        "fog": torch.tensor([[0.1, 0.4, 0.5, 0.6]]),
    }
    return Scene(**tensors)


@needs_mitsuba
def test_a_parameter_that_is_not_finite_is_named(scenes: Scene) -> None:
    colour = scenes.colour.clone()
    colour[1] = float("nan")
    with pytest.raises(BadInput, match="scene 1: parameter 'colour'"):
        Mitsuba(40, SIZE).render(scenes.replace(colour=colour))
