"""Feasible sets of streets, against places whose answer is a closed form."""

import math

import pytest
import torch
from small_street import brick, small_street, standing_at

from offline.counterexamples.streets.feasible import (
    Rectangles,
    apart,
    every,
    ground_rectangles,
    in_frame,
    on_the_road,
    overlaps,
    standing,
    street_sets,
    within_kerbs,
)
from offline.rendering.scene import concatenate
from offline.rendering.streets import StreetSettings, sample_streets
from offline.rendering.streets.settings import HALF

CAR = brick(4.0, 1.5, 2.0)


def rectangles(*places: tuple[float, float, float, float, float]) -> Rectangles:
    """Of (x, z, half a length, half a width, degrees)."""
    middle = torch.tensor([[place[:2] for place in places]]).float()
    half = torch.tensor([[place[2:4] for place in places]]).float()
    angle = torch.deg2rad(torch.tensor([place[4] for place in places]))
    along = torch.stack((angle.cos(), angle.sin()), dim=1)
    across = torch.stack((-angle.sin(), angle.cos()), dim=1)
    return Rectangles(middle, half, torch.stack((along, across), dim=1)[None])


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ((0, 0, 1, 1, 0), (1.9, 0, 1, 1, 0), True),
        ((0, 0, 1, 1, 0), (2.1, 0, 1, 1, 0), False),
        ((0, 0, 1, 1, 0), (2.0, 0, 1, 1, 0), False),  # they touch
        # A square on its corner reaches √2 towards the other.
        ((0, 0, 1, 1, 0), (2.4, 0, 1, 1, 45), True),
        ((0, 0, 1, 1, 0), (2.42, 0, 1, 1, 45), False),
        # Diagonally beside a corner the boxes along the axes overlap, the rectangles do not.
        ((0, 0, 1, 1, 0), (1.75, 1.75, 1, 1, 45), False),
        ((0, 0, 1, 1, 0), (1.69, 1.69, 1, 1, 45), True),
        ((0, 0, 3, 0.1, 90), (0, 0, 3, 0.1, 0), True),  # a cross, without a corner inside
        ((0, 0, 2, 2, 0), (0.1, 0, 0.2, 0.2, 30), True),  # one within the other
    ],
)
def test_rectangles_overlap_as_the_closed_form_says(first, second, wanted) -> None:
    found = overlaps(rectangles(first, second, (50, 50, 1, 1, 0)))[0]
    assert found[0, 1] == found[1, 0] == wanted
    assert not found[2, :2].any()


def test_overlaps_are_those_of_points_that_lie_in_both() -> None:
    generator = torch.Generator().manual_seed(0)
    x, z = (4 * torch.rand(60, generator=generator) for _ in range(2))
    half = 0.2 + torch.rand(60, 2, generator=generator)
    turn = 360 * torch.rand(60, generator=generator)
    found = rectangles(*torch.stack((x, z, *half.T, turn), dim=1).tolist())
    grid = torch.linspace(-1.5, 5.5, 281)
    points = torch.cartesian_prod(grid, grid)
    local = torch.einsum("bkc,bpc->bpk", found.axes[0], points - found.middle[0][:, None])
    inside = (local.abs() <= found.half[0][:, None]).all(2).float()
    shared = inside @ inside.T
    said = overlaps(found)[0]
    assert said[shared > 0].all()
    # Where no point of the grid lies in both, they overlap by less than its mesh, if at all.
    assert float((said & (shared == 0)).float().mean()) < 0.01


def test_a_rectangle_is_that_of_the_box_where_it_stands() -> None:
    scene = standing_at([("car", CAR, 1.0, -6.0, 90.0), ("bus", CAR, -2.0, -9.0, 30.0)])
    found = ground_rectangles(scene.replace(scale=torch.tensor([[1.0, 0.5]])))
    torch.testing.assert_close(found.middle, torch.tensor([[[1.0, -6.0], [-2.0, -9.0]]]))
    torch.testing.assert_close(found.half, torch.tensor([[[2.0, 1.0], [1.0, 0.5]]]))
    # Turned by 90 degrees about y, +x points to -z.
    torch.testing.assert_close(found.axes[0, 0, 0], torch.tensor((0.0, -1.0)), atol=1e-6, rtol=0)
    wanted = torch.tensor((math.cos(math.radians(30)), -math.sin(math.radians(30))))
    torch.testing.assert_close(found.axes[0, 1, 0], wanted)


@pytest.mark.parametrize(
    ("x", "degrees", "wanted"),
    [
        (HALF - 1.01, 90, True),
        (HALF - 0.99, 90, False),
        (-HALF + 0.99, 90, False),
        (HALF - 1.59, 0, False),  # its wheels are 0.8 of its length apart
        (HALF - 1.61, 0, True),
        (0, 17, True),
    ],
)
def test_wheels_stay_between_the_kerbs(x: float, degrees: float, wanted: bool) -> None:
    scene = standing_at([("car", CAR, x, -6.0, degrees), ("bench", CAR, 9.0, -6.0, 0.0)])
    assert on_the_road(scene).tolist() == [wanted]


@pytest.mark.parametrize(
    ("start", "x", "degrees", "wanted"),
    [
        (0.0, 2.0, 90, 2.0),  # where it may be, it stays
        (0.0, HALF - 0.5, 90, HALF - 1.0),
        (0.0, -HALF, 0, -HALF + 1.6),
        (HALF - 1.0, HALF - 0.9, 90, HALF - 1.0),  # parked at the kerb
        (HALF - 0.7, HALF - 0.5, 90, HALF - 0.7),  # beyond it from the start: no further
        (HALF - 0.7, HALF - 0.8, 90, HALF - 0.8),
    ],
)
def test_a_vehicle_beyond_the_kerb_is_pushed_back_and_the_others_go_on(
    start: float, x: float, degrees: float, wanted: float
) -> None:
    def scene(place: float, other: float, turn: float):
        return standing_at([
            ("car", CAR, place, -6.0, turn),
            ("car", CAR, other, -20.0, 90.0),
            ("bench", CAR, 9.0, -6.0, 0.0),
        ])  # fmt: skip

    moved = scene(x, 1.0, degrees)
    code = moved.translation.clone().requires_grad_()
    found = within_kerbs(scene(start, 0.0, 90.0), moved.replace(translation=code))
    places = torch.tensor([[wanted, 1.0, 9.0]])
    torch.testing.assert_close(found.translation[..., 0], places)
    assert torch.equal(found.translation[..., 1:], code[..., 1:])
    (gradient,) = torch.autograd.grad(found.translation.sum(), code)
    assert torch.equal(gradient, torch.ones_like(code))  # or it could not turn back
    assert on_the_road(found).item() == (start != HALF - 0.7)


def test_vehicles_are_apart_from_one_another_and_from_houses_but_may_stand_under_trees() -> None:
    def scene(*others: tuple[str, float]) -> list[bool]:
        things = [("car", CAR, 0.0, -6.0, 90.0)]
        return apart(standing_at(things + [(n, CAR, x, -6.0, 90.0) for n, x in others])).tolist()

    assert scene() == [True]
    assert scene(("car", 2.1)) == [True]
    assert scene(("car", 1.9)) == [False]
    assert scene(("building", 1.9)) == [False]
    assert scene(("tree", 1.0), ("road", 0.0)) == [True]
    assert scene(("building", 5.0), ("building", 5.5)) == [True]  # houses do not move


def test_vehicles_stand_upright_on_the_ground() -> None:
    scene = standing_at([("car", CAR, 0.0, -6.0, 40.0), ("tree", CAR, 5.0, -6.0, 0.0)])
    lifted, tilted, leaning = (scene.translation.clone(), scene.pose.clone(), scene.pose.clone())
    lifted[0, 0, 1] += 0.5
    tilted[0, 0, 2] = 0.1
    leaning[0, 1, 0] = 0.3  # a tree may lean
    found = [
        standing(each).item()
        for each in (
            scene,
            scene.replace(translation=lifted),
            scene.replace(pose=tilted),
            scene.replace(pose=leaning),
        )
    ]
    assert found == [True, False, False, True]


def test_a_subject_is_in_the_frame_as_far_as_its_extent_is(device: torch.device) -> None:
    # A camera at (0, 0, 0) along -z, 90 degrees high: at depth 10 an image 20 m high, 40 m wide.
    wall = brick(4.0, 4.0, 0.01)
    camera = torch.tensor([[10.0, 0, 0, math.pi / 2, 0, 0, 0, -10]])
    places = [0.0, 18.0, 19.0, 21.0, 23.0]  # of its middle: 100, 100, 75, 25 and 0% are seen
    scenes = (
        concatenate([standing_at([("car", wall, x, -10.0, 0.0)]) for x in places])
        .replace(camera=camera.expand(len(places), -1))
        .to(device)
    )
    for least, wanted in ((0.8, 2), (0.7, 3), (0.2, 4), (0.0, 5)):
        found = in_frame(100, 200, least)(scenes)
        assert found.tolist() == [i < wanted for i in range(5)], least
    behind = scenes.translation.clone()
    behind[..., 2] = 10.0
    assert not in_frame(100, 200, 0.0)(scenes.replace(translation=behind)).any()


def test_sampled_streets_lie_in_their_feasible_set(device: torch.device) -> None:
    settings = StreetSettings(subjects=("car", "bus"), vehicles=6, length=50)
    scenes = sample_streets(3, torch.Generator().manual_seed(5), (64, 128), settings).to(device)
    assert every(*street_sets(64, 128))(scenes).all()
    aside = scenes.translation.clone()
    aside[0, 0, 0] += 6.0
    found = every(*street_sets(64, 128))(scenes.replace(translation=aside))
    assert found.tolist() == [False, True, True]
    assert every()(small_street((16, 32))).tolist() == [True]
