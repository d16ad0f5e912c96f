"""Images: areas and shading against closed forms, determinism, batches, what is refused."""

import math

import pytest
import torch
from rich_scenes import rich_scene

from guard.errors import BadInput
from offline.rendering.composing import single
from offline.rendering.ground_truth import annotate
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import PARAMETERS, Scene

FIELD = 0.6
MOVED = [name for name in PARAMETERS if name not in ("texture", "lamps")]  # what `single` has


def sheet(
    points: list[tuple[float, float]], colour: tuple[float, float, float] = (0, 0, 0)
) -> Mesh:
    """A flat convex polygon in the plane z = 0, seen face on at azimuth and elevation 0."""
    count = len(points)
    faces = [[0, i, i + 1] for i in range(1, count - 1)]
    vertices = torch.tensor([(x, y, 0.0) for x, y in points])
    return Mesh("sheet", vertices, torch.tensor(faces), torch.tensor([colour] * len(faces)).float())


def face_on(mesh: Mesh, light: tuple[float, float, float, float], ambient: float = 0) -> Scene:
    return single([mesh], camera=(3.0, 0.0, 0.0, FIELD), light=light, ambient=ambient)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("corners", [4, 5, 60], ids=["square", "pentagon", "disc"])
@pytest.mark.parametrize("turn", [0.0, 0.4, math.pi / 4])
def test_coverage_is_the_area(
    corners: int, turn: float, samples: int, device: torch.device
) -> None:
    angles = [turn + math.pi / 4 + 2 * math.pi * i / corners for i in range(corners)]
    mesh = sheet([(0.013 + 0.6 * math.cos(a), 0.007 + 0.6 * math.sin(a)) for a in angles])
    scene = face_on(mesh, (0, 0, 1, 0), 1).to(device)
    image = Rasterizer(64, 64, samples).render(scene)
    pixels_a_unit = 32 / math.tan(FIELD / 2) / 3
    area = corners / 2 * math.sin(2 * math.pi / corners) * (0.6 * pixels_a_unit) ** 2
    assert float((1 - image).mean(1).sum()) == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2, 2.5])
def test_a_lambertian_face_is_as_bright_as_the_cosine_says(
    angle: float, device: torch.device
) -> None:
    mesh = sheet([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], (0.8, 0.5, 0.2))
    light = (3 * math.sin(angle), 0.0, 3 * math.cos(angle), 0.6)
    tint = torch.tensor([[0.9, 1.0, 0.5]], device=device)
    image = Rasterizer(33, 33).render(
        face_on(mesh, light, 0.3).to(device).replace(colour=tint[:, None])
    )
    wanted = tint[0] * torch.tensor([0.8, 0.5, 0.2], device=device)
    wanted = wanted * (0.3 + 0.6 * max(math.cos(angle), 0))
    torch.testing.assert_close(image[0, :, 16, 16], wanted)


def test_a_glossy_face_mirrors_the_light_by_blinn_phong(device: torch.device) -> None:
    mesh = sheet([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    light = (math.sin(0.4), 0.0, math.cos(0.4), 0.7)
    scene = single([mesh], camera=(3.0, 0.0, 0.0, FIELD), light=light, ambient=0, gloss=0.5).to(
        device
    )
    image = Rasterizer(33, 33, samples=1).render(scene)
    wanted = torch.full((3,), 0.7 * 0.5 * math.cos(0.2) ** 32, device=device)
    torch.testing.assert_close(image[0, :, 16, 16], wanted)


def test_the_nearer_of_two_sheets_hides_the_other(device: torch.device) -> None:
    near = sheet([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], (1, 0, 0))
    vertices = torch.cat((near.vertices, near.vertices * 1.5 - torch.tensor([0, 0, 0.4])))
    faces = torch.cat((near.faces + 4, near.faces))
    colours = torch.tensor([[0, 1.0, 0]] * 2 + [[1.0, 0, 0]] * 2)
    scene = face_on(Mesh("two", vertices, faces, colours), (0, 0, 1, 0), 1).to(device)
    image = Rasterizer(65, 65).render(scene)[0]
    assert image[:, 32, 32].tolist() == [1, 0, 0]
    assert image[:, 32, 12].tolist() == [0, 1, 0]
    assert image[:, 1, 1].tolist() == [1, 1, 1]


def test_the_same_scenes_give_the_same_bits_in_any_batch(device: torch.device) -> None:
    scene = sample_scenes(torch.arange(12), torch.Generator().manual_seed(2), (40, 56)).to(device)
    renderer = Rasterizer(40, 56)
    whole = renderer.render(scene)
    assert whole.shape == (12, 3, 40, 56)
    assert torch.equal(whole, renderer.render(scene))
    assert float(whole.amin()) >= 0
    assert float(whole.amax()) <= 1
    single = torch.cat([renderer.render(scene[i]) for i in range(12)])
    torch.testing.assert_close(single, whole, atol=1e-6, rtol=0)


def test_gradients_are_the_same_bits_twice() -> None:
    scene = sample_scenes(torch.arange(6), torch.Generator().manual_seed(2), 48)

    def gradients() -> list[torch.Tensor]:
        theta = {k: scene.parameters()[k].clone().requires_grad_() for k in MOVED}
        image = Rasterizer(48, 48).render(scene.replace(**theta))
        return list(torch.autograd.grad((image**2).sum(), list(theta.values())))

    first, second = gradients(), gradients()
    for name, a, b in zip(MOVED, first, second, strict=True):
        assert torch.equal(a, b), name
        assert a.isfinite().all(), name
        assert a.abs().sum() > 0, name


def test_a_scene_without_its_object_is_its_background(device: torch.device) -> None:
    scene = sample_scenes(torch.tensor([CLASSES.index("car")] * 2), torch.Generator(), 32)
    scene = scene.to(device)
    away = scene.replace(translation=torch.tensor([[[0.0, 0, 0]], [[90.0, 0, 0]]], device=device))
    renderer = Rasterizer(32, 32)
    coverage = renderer.coverage(away)
    assert coverage[0] > 0.02
    assert coverage[1] == 0
    torch.testing.assert_close(renderer.render(away)[1], scene.background[1])


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_is_not_finite_is_named(name: str) -> None:
    scene = rich_scene(0)[[0, 0]]
    value = scene.parameters()[name].clone()
    value[1] = float("nan")
    with pytest.raises(BadInput, match=f"scene 1: parameter '{name}'"):
        Rasterizer(16, 16).render(scene.replace(**{name: value}))


def test_nothing_is_made_on_another_device_than_the_scenes() -> None:
    """A default device that holds no numbers stands for the CPU of a machine with a GPU."""
    scene, renderer = rich_scene(0), Rasterizer(24, 24, shadows=True)

    def rendered() -> list[torch.Tensor]:
        theta = {k: scene.parameters()[k].clone().requires_grad_() for k in PARAMETERS}
        image = renderer.render(scene.replace(**theta))
        gradients = torch.autograd.grad(image.square().sum(), list(theta.values()))
        return [image, *gradients, renderer.coverage(scene), *annotate(scene, 24, 24)]

    wanted = rendered()
    with torch.device("meta"):
        found = rendered()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_scenes_that_show_nothing_have_gradients_all_the_same(device: torch.device) -> None:
    scene = rich_scene(0).to(device)
    theta = {k: scene.parameters()[k].clone().requires_grad_() for k in PARAMETERS}
    aside = theta["camera"].new_tensor([0, 0, 0, 0, 0, -90.0, -90, -90])
    away = theta | {"camera": theta["camera"] + aside}
    image = Rasterizer(24, 24, shadows=True).render(scene.replace(**away))
    torch.testing.assert_close(image, scene.background.expand_as(image))
    gradients = torch.autograd.grad(image.sum(), list(theta.values()), allow_unused=True)
    assert all(each is None or bool(each.isfinite().all()) for each in gradients)
    assert float(gradients[PARAMETERS.index("background")].sum()) == pytest.approx(3 * 24 * 24)


def test_a_batch_without_a_scene_is_refused() -> None:
    scene = rich_scene(0)[torch.zeros(1, dtype=torch.bool)]
    for use in (Rasterizer(16, 16).render, Rasterizer(16, 16).coverage):
        with pytest.raises(BadInput, match="a batch without a scene"):
            use(scene)


def test_a_background_of_another_size_is_refused() -> None:
    scene = sample_scenes(torch.tensor([0]), torch.Generator(), 16)
    with pytest.raises(BadInput, match="16 x 16 pixels: allowed are 1 x 1 and the 32 x 32"):
        Rasterizer(32, 32).render(scene)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(BadInput, match="0 x 16"):
        Rasterizer(0, 16)


@pytest.mark.parametrize("azimuth", [math.pi / 2, math.pi / 2 - 1e-7, math.pi / 2 + 1e-4])
def test_a_sheet_seen_edge_on_has_finite_gradients(azimuth: float, device: torch.device) -> None:
    mesh = sheet([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    scene = single([mesh], camera=(3.0, azimuth, 0.0, FIELD), gloss=0.3).to(device)
    theta = {k: scene.parameters()[k].clone().requires_grad_() for k in MOVED}
    image = Rasterizer(33, 33, samples=1).render(scene.replace(**theta))
    gradients = torch.autograd.grad(image.sum(), list(theta.values()))
    assert all(gradient.isfinite().all() for gradient in gradients)
