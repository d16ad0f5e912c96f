import math

import pytest
import torch

from offline.evaluation.movement_in_words import movement_in_words
from offline.rendering.composing import compose, single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.scene import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    generator = torch.Generator().manual_seed(0)
    meshes: list[Mesh] = [procedural_mesh("bench", generator) for _ in range(2)]
    return single(meshes)


def told(scene: Scene, **changes: tuple[tuple[int, ...], float]) -> dict[str, str]:
    """Add to one element of each named parameter of the second scene."""
    values = {}
    for name, (place, change) in changes.items():
        values[name] = getattr(scene, name).clone()
        values[name][(1, *place)] += change
    return movement_in_words(scene, scene.replace(**values), 1, classes=CLASSES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pose": ((0, 1), -math.pi / 6)}, {"pose": "y −30.0°"}),
        ({"translation": ((0, 2), 0.125)}, {"translation": "z +0.12 radii"}),
        ({"scale": ((0,), 0.1)}, {"scale": "+0.1"}),
        ({"colour": ((0, 0), -0.25)}, {"colour": "red −0.25"}),
        ({"vertices": ((3, 1), 0.002)}, {"vertices": "1 of them by up to 0.002 radii"}),
        ({"camera": ((0,), 0.5)}, {"camera": "distance +0.5 radii"}),
        ({"camera": ((3,), math.radians(4))}, {"camera": "field of view +4.0°"}),
        ({"light": ((5,), 0.5)}, {"light": "blue +0.5"}),
        ({"fog": ((0,), 0.03)}, {"fog": "density +0.03"}),
        ({"background": ((0, 0, 0), 0.2)}, {"background": "by up to 0.2"}),
        ({"environment": ((4, 1), -0.2)}, {"environment": "by up to 0.2"}),
        ({"pose": ((0, 1), 1e-6)}, {}),
    ],
)
def test_what_moved_has_a_unit(scene, changes, words):
    assert told(scene, **changes) == words


def test_lengths_are_named_once_and_in_their_unit(scene):
    far = scene.replace(translation=scene.translation + torch.tensor([1.0, 0.0, -2.0]))
    assert movement_in_words(scene, far, 0, length="m") == {"translation": "x +1, z −2 m"}


def test_only_the_row_that_is_asked_about_is_told(scene):
    moved = scene.pose.clone()
    moved[1] += 0.1
    assert movement_in_words(scene, scene.replace(pose=moved), 0) == {}


def test_light_is_told_by_its_angle(scene):
    light = scene.light.clone()
    light[:, :3] = torch.tensor([0.0, 2.0, 0.0])
    start = scene.replace(light=light.clone())
    light[:, :3] = torch.tensor([3.0, 3.0, 0.0])
    assert movement_in_words(start, start.replace(light=light), 0)["light"] == "turned by 45.0°"
    light[:, :3] = torch.tensor([0.0, 1.0, 0.0])
    longer = movement_in_words(start, start.replace(light=light), 0)["light"]
    assert longer == "made longer or shorter, which changes nothing"


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ((0.0, 0.2, 0.0), "bench: z +11.5°"),
        ((0.1, 0.2, 0.0), "bench: z +11.5°; 1 more"),
        ((0.1, 0.2, -0.3), "object 3: z −17.2°; 2 more"),
    ],
)
def test_of_several_objects_the_one_that_moved_farthest_speaks(turns, words):
    mesh = procedural_mesh("bench", torch.Generator().manual_seed(0))
    bench = CLASSES.index("bench")
    street = compose([[mesh] * 3], [[0, bench, -1]])
    pose = street.pose.clone()
    pose[0, :, 2] += torch.tensor(turns)
    found = movement_in_words(street, street.replace(pose=pose), 0, classes=CLASSES)
    assert found == {"pose": words}
