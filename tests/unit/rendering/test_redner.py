"""redner beside the rasterizer: the same images and gradients of the same Lambertian scenes."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from guard.errors import BadInput, CornerguardError
from offline.rendering.camera import rotation
from offline.rendering.composing import compose, single, uniform_environment
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.redner import Redner, missing
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene, concatenate

LACKING = missing()
if LACKING is not None:
    pytest.skip(f"redner: {LACKING}", allow_module_level=True)
HEIGHT, WIDTH = 56, 64


@pytest.fixture(scope="module")
def redner() -> Iterator[Redner]:
    with Redner(HEIGHT, WIDTH) as renderer:
        yield renderer


def egg() -> Mesh:
    return assemble("egg", [ball((0.9, 0.7, 0.5), (0.8, 0.4, 0.2), 5, 8)])


def table() -> Mesh:
    """Two solids, one hides a part of the other; they do not touch."""
    near = ball((0.4, 0.3, 0.3), (0.3, 0.7, 0.3), 5, 8).moved(0.3, 0.2, 0.6)
    return assemble("two", [ball((0.8, 0.5, 0.3), (0.8, 0.3, 0.2), 5, 9), near])


def scenes() -> Scene:
    """Odd sizes, a camera that rolls and looks aside, several objects, light from all around."""
    generator = torch.Generator().manual_seed(3)
    street = compose([[egg(), table()]])
    alone = single([egg(), table()])
    scene = concatenate([street, alone])
    turned = torch.randn(3, 2, 3, generator=generator) * 0.5
    places = torch.zeros(3, 2, 3)
    places[0, 1] = torch.tensor([0.9, 0.3, -1.1])
    camera = torch.tensor([[3.6, 0.5, 0.3, 0.7, 0.25, 0.1, 0.05, -0.1]]).repeat(3, 1)
    camera[2, 1] = 2.6
    environment = uniform_environment(torch.full((3, 3), 0.35))
    environment[:, 1:] = 0.1 * torch.randn(3, 8, 3, generator=generator)
    light = torch.tensor([[1.2, 2.0, 1.5, 0.5, 0.45, 0.4]]).repeat(3, 1)
    return scene.replace(
        pose=turned, translation=places, camera=camera, environment=environment, light=light,
        background=torch.rand(3, 3, 1, 1, generator=generator),
    )  # fmt: skip


def test_images_agree_with_the_rasterizers(redner: Redner) -> None:
    scene = scenes()
    ours, theirs = Rasterizer(HEIGHT, WIDTH, 4).render(scene), redner.render(scene)
    assert theirs.shape == (3, 3, HEIGHT, WIDTH)
    assert float((ours - theirs).abs().mean((1, 2, 3)).max()) <= 0.005
    assert float((ours - scene.background).abs().mean()) > 0.05
    covered = Rasterizer(HEIGHT, WIDTH, 4).coverage(scene)
    torch.testing.assert_close(redner.coverage(scene), covered, atol=0.01, rtol=0)
    assert isinstance(redner, Renderer)


def test_harmonics_light_a_face_as_their_integral_does(redner: Redner) -> None:
    """A face with the normal z, under radiance π⁻¹ · Σ L Y, integrated over the hemisphere."""
    corners = torch.tensor([[-2.0, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]])
    sheet = Mesh("sheet", corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.ones(2, 3))
    environment = torch.zeros(1, 9, 3)
    environment[0, :, 0] = torch.tensor([1.5, 0.2, 0.4, -0.3, 0.3, 0.1, 0.25, -0.2, 0.2])
    environment[0, 0] = 1.5  # the same in green and blue
    pose = torch.tensor([[[0.4, 0.3, 0.0]]])
    scene = single([sheet], camera=(3.0, 0.0, 0.0, 0.5), light=(0, 0, 1, 0))
    found = redner.radiance(scene.replace(environment=environment, pose=pose))
    normal = rotation(pose)[0, 0, :, 2]
    generator = torch.Generator().manual_seed(1)
    way = torch.nn.functional.normalize(torch.randn(2_000_000, 3, generator=generator), dim=1)
    x, y, z = way.unbind(1)
    basis = torch.stack((
        0.282095 * torch.ones_like(x), 0.488603 * y, 0.488603 * z, 0.488603 * x,
        1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ), dim=1)  # fmt: skip
    facing = (way @ normal).relu()
    wanted = 4 * ((basis @ environment[0, :, 0]) * facing).mean()
    assert float(found[0, 0, HEIGHT // 2, WIDTH // 2]) == pytest.approx(float(wanted), abs=0.01)


NAMES = ["pose", "translation", "scale", "vertices", "colour", "light", "environment", "camera"]


@pytest.mark.parametrize("name", [*NAMES, "background"])
def test_gradients_agree_with_the_rasterizers(redner: Redner, name: str) -> None:
    scene = scenes()[1:]
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(4, 3, 5, 5, generator=generator)
    functionals = interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic", align_corners=True)

    def gradients(renderer: Renderer) -> torch.Tensor:
        value = scene.parameters()[name].clone().requires_grad_()
        image = renderer.render(scene.replace(**{name: value}))
        losses = [(image * functional).sum() for functional in functionals]
        found = [torch.autograd.grad(loss, value, retain_graph=True)[0] for loss in losses]
        return torch.stack(found).flatten()

    ours, theirs = gradients(Rasterizer(HEIGHT, WIDTH, 4)), gradients(redner)
    cosine = float(cosine_similarity(ours, theirs, dim=0))
    assert cosine >= 0.95
    assert float(theirs.norm() / ours.norm()) == pytest.approx(1, abs=0.08)


def test_images_are_the_same_bits_in_any_batch_and_in_float64(redner: Redner) -> None:
    scene = scenes()
    whole = redner.render(scene)
    assert torch.equal(whole, redner.render(scene))
    assert torch.equal(whole[1:2], redner.render(scene[1]))
    double = redner.render(scene.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), whole, atol=1e-3, rtol=0)


@pytest.mark.parametrize("what", ["gloss", "lamps", "fog"])
def test_what_redner_is_not_used_for_is_refused(redner: Redner, what: str) -> None:
    scene = single([egg()])
    if what == "gloss":
        scene = scene.with_gloss(torch.tensor([[0.3]]))
    if what == "lamps":
        scene = dataclasses.replace(scene, lamps=torch.ones(1, 1, 6))
    if what == "fog":
        scene = scene.replace(fog=torch.full((1, 4), 0.5))
    with pytest.raises(BadInput, match=rf"scene 0: .*{what}"):
        redner.render(scene)


def test_a_parameter_that_is_not_finite_is_named(redner: Redner) -> None:
    scene = single([egg()])
    with pytest.raises(BadInput, match="'pose' is NaN"):
        redner.render(scene.replace(pose=torch.full((1, 1, 3), float("nan"))))


def test_a_closed_renderer_says_so() -> None:
    renderer = Redner(16, 16)
    renderer.close()
    renderer.close()
    with pytest.raises(CornerguardError, match="closed"):
        renderer.render(single([egg()]))
