"""What an attack moves of a street: gradients by finite differences, starts, and what stays."""

import math

import pytest
import torch
from small_street import NAMES, small_street
from torch.nn.functional import cosine_similarity, interpolate

from offline.counterexamples import preset
from offline.counterexamples.features import FEATURES, STREET_FEATURES, moved, starts
from offline.counterexamples.streets.object_boxes import local_boxes, vehicles
from offline.counterexamples.streets.vehicle_features import free_form
from offline.rendering.camera import to_world
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.streets import sample_streets

SIZE = (48, 96)
CAR, TREE, WALL, BUS = range(4)
STEPS = {"translate": 0.0015, "rotate": 0.002}
"""Of finite differences, where another one is wanted than 0.01: an edge moves by half a pixel."""


def test_the_preset_is_table_12_and_moves_every_feature_of_a_street() -> None:
    settings = preset("squeezedet")
    assert settings.steps == {
        "vehicle_colour": 0.05, "weather": 0.25, "foliage": 0.10,
        "translate": 0.01, "rotate": 0.01, "mesh": 0.025,
    }  # fmt: skip
    assert set(settings.steps) == set(STREET_FEATURES)
    assert (settings.attack, settings.rounds) == ("si-FGSM", 6)


def test_at_its_start_every_feature_is_the_scene_bit_for_bit(device: torch.device) -> None:
    scenes = sample_streets(2, torch.Generator().manual_seed(2), SIZE).to(device)
    same = moved(scenes, starts(scenes, STREET_FEATURES))
    for name, value in scenes.tensors().items():
        assert torch.equal(value, getattr(same, name)), name


@pytest.mark.parametrize("name", STREET_FEATURES)
def test_the_gradient_agrees_with_finite_differences(name: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(1)
    renderer, step = Rasterizer(*SIZE, samples=3), STEPS.get(name, 0.01)
    scene = small_street(SIZE, plain=True).double().to(device)
    coarse = torch.randn(4, 3, 5, 10, generator=generator, dtype=torch.float64)
    functionals = interpolate(coarse, size=SIZE, mode="bicubic", align_corners=True).to(device)
    feature = FEATURES[name]
    start = feature.start(scene)
    # Along random directions, as many as there are coordinates, up to 24.
    directions = torch.randn(min(16, start.numel()), *start.shape[1:], generator=generator)
    directions = directions.double().to(device)

    value = start.clone().requires_grad_()
    image = renderer.render(feature.apply(scene, value))
    losses = [(image * functional).sum() for functional in functionals]
    slopes = torch.stack([torch.autograd.grad(x, value, retain_graph=True)[0] for x in losses])
    found = slopes.flatten(1) @ directions.flatten(1).T

    there = start + step * torch.cat((directions, -directions))
    with torch.no_grad():
        many = feature.apply(scene[[0] * len(there)], there)
        ahead, behind = renderer.render(many).chunk(2)
    wanted = torch.einsum("bchw,kchw->kb", ahead - behind, functionals) / (2 * step)
    assert wanted.norm() > 0
    assert cosine_similarity(found.flatten(), wanted.flatten(), dim=0) >= 0.99
    assert float(found.norm() / wanted.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["vehicle_colour", "translate", "rotate", "mesh"])
def test_what_is_no_vehicle_stays(name: str) -> None:
    scene = small_street(SIZE)
    assert vehicles(scene).tolist() == [[True, False, False, True]]
    start = starts(scene, {name: 0})
    after = moved(scene, {name: start[name] + 0.05})
    places = (to_world(after) - to_world(scene)).abs().amax(2)[0]
    colours = (after.colour - scene.colour).abs().amax(2)[0]
    change = colours if name == "vehicle_colour" else torch.stack(
        [places[scene.owners[0] == k].max() for k in range(4)]
    )  # fmt: skip
    assert (change > 0).tolist() == [True, False, False, True]


def test_vehicles_move_by_shares_of_their_distance_and_turn_by_radians() -> None:
    scene = small_street(SIZE)
    place = torch.zeros(1, 4, 2)
    place[0, CAR] = torch.tensor((0.01, -0.015))
    turn = torch.zeros(1, 4)
    turn[0, BUS] = 0.02
    after = moved(scene, {"translate": place, "rotate": turn})
    # The eye is 10 m from (0, 0.5, -9) at an elevation of 0.12: at z = 10 cos 0.12 - 9.
    far = math.hypot(-1.6, -9 - (10 * math.cos(0.12) - 9))
    moves = (after.translation - scene.translation)[0]
    torch.testing.assert_close(moves[CAR], torch.tensor((0.02 * far, 0.0, -0.03 * far)))
    assert not moves[[TREE, WALL, BUS]].any()
    torch.testing.assert_close((after.pose - scene.pose)[0, BUS], torch.tensor((0, 0.36, 0.0)))


def test_free_form_deformation_is_exact_for_linear_maps_and_a_corner_follows_its_point() -> None:
    inside = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    i = torch.arange(4) / 3
    grid = torch.stack(torch.meshgrid(i, i, i, indexing="ij"), dim=-1)
    linear = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.3, 0.1], [0.5, 0.0, 0.2]])
    moves = free_form(inside, (grid @ linear.T).expand(20, 4, 4, 4, 3))
    torch.testing.assert_close(moves, inside @ linear.T, atol=1e-6, rtol=0)
    corner = torch.zeros(1, 4, 4, 4, 3)
    corner[0, 3, 0, 3] = torch.tensor((0.1, 0.2, 0.3))
    assert free_form(torch.tensor([[1.0, 0.0, 1.0]]), corner).tolist() == [
        pytest.approx([0.1, 0.2, 0.3])
    ]
    assert not free_form(torch.tensor([[0.0, 0.0, 1.0]]), corner).any()


def test_a_deformed_vehicle_stays_symmetric_and_its_lowest_points_do_not_rise() -> None:
    scene = small_street(SIZE)
    code = 0.12 * torch.randn(1, 4, 4, 4, 4, 3, generator=torch.Generator().manual_seed(3)).sign()
    after = moved(scene, {"mesh": code})
    own = scene.owners[0] == CAR
    before, shape = scene.points[0, own], (after.points + after.vertices)[0, own]
    low, high = (side[0, CAR] for side in local_boxes(scene))
    assert float((shape - before).abs().amax()) <= 0.15 * float((high - low).amax()) + 1e-6
    floor = before[:, 1] < low[1] + 1e-6
    torch.testing.assert_close(shape[floor, 1], before[floor, 1])
    # Each vertex and its mirror image in the middle plane of the box move alike.
    mirror = before * torch.tensor((1, 1, -1.0)) + torch.tensor((0, 0, 1.0)) * (low + high)
    near = torch.cdist(mirror, before)
    twin = near.argmin(1)
    paired = near.amin(1) < 1e-5
    assert paired.float().mean() > 0.9
    moves = shape - before
    opposite = moves[twin] * torch.tensor((1, 1, -1.0))
    torch.testing.assert_close(moves[paired], opposite[paired], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (0, {"fog", "background"}),
        (1, {"light", "environment", "background"}),
        (2, {"light", "environment", "fog", "background"}),
        (3, {"light"}),
    ],
)
def test_light_air_and_sky_follow_the_weather(number: int, changed: set[str]) -> None:
    scene = small_street(SIZE)
    code = torch.zeros(1, 4)
    code[0, number] = 1.0
    after = moved(scene, {"weather": code})
    names = {n for n, v in scene.tensors().items() if not torch.equal(v, getattr(after, n))}
    assert names == changed
    if number == 0:  # the sky fades into the haze, most near the horizon
        gap = (scene.background - scene.fog[:, 1:, None, None]).abs()
        left = (after.background - scene.fog[:, 1:, None, None]).abs()
        assert (left <= gap + 1e-6).all()
        assert float(after.fog[0, 0] / scene.fog[0, 0]) == pytest.approx(math.e)
    if number == 2:
        fade = after.light[0, 3:] / scene.light[0, 3:]
        assert fade.tolist() == pytest.approx([math.exp(-x) for x in (0.20, 0.25, 0.32)])
    if number == 3:
        cosine = cosine_similarity(after.light[:, [0, 2]], scene.light[:, [0, 2]])
        assert float(torch.rad2deg(cosine.acos())) == pytest.approx(15, abs=0.01)
        assert float(after.light[0, 1]) == float(scene.light[0, 1])


def test_trees_take_the_whole_of_a_colour_walls_a_third_and_trees_alone_grow() -> None:
    scene = small_street(SIZE)
    after = moved(scene, {"foliage": torch.full((1, 4, 4), 0.6)})
    factors = (after.colour / scene.colour)[0, :, 0].tolist()
    assert factors == pytest.approx([1, math.exp(0.6), math.exp(0.2), 1])
    grown = (after.scale / scene.scale)[0].tolist()
    assert grown == pytest.approx([1, math.exp(0.3), 1, 1])
    assert NAMES[int(scene.classes[0, TREE])] == "tree"
    foot = to_world(after)[0, scene.owners[0] == TREE, 1].min()
    assert float(foot) == pytest.approx(0.0, abs=1e-6)
