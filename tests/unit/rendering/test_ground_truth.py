"""Instances, boxes, shares and depth: against rays cast by numpy, and closed forms."""

import math

import numpy as np
import pytest
import torch

from offline.rendering.camera import pixel_rays, to_camera, to_world
from offline.rendering.composing import compose
from offline.rendering.ground_truth import annotate
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import procedural_mesh
from offline.rendering.scene import Scene, concatenate


def square(half: float, z: float, x: float = 0.0) -> Mesh:
    corners = [(x - half, -half, z), (x + half, -half, z), (x + half, half, z), (x - half, half, z)]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Mesh("square", torch.tensor(corners).float(), faces, torch.ones(2, 3))


def face_on(*meshes: Mesh, classes: list[int] | None = None) -> Scene:
    scene = compose([list(meshes)], [classes or list(range(len(meshes)))])
    camera = torch.tensor([[4.0, 0, 0, 2 * math.atan(0.5), 0, 0, 0, 0]])
    return scene.replace(camera=camera)


def test_squares_have_the_boxes_and_depth_of_the_pinhole(device: torch.device) -> None:
    # At distance d a length of 1 is 40 / d pixels in an image of 40 rows.
    scene = face_on(square(0.5, 0.0), square(0.3, 2.0, 0.3), classes=[7, 3]).to(device)
    found = annotate(scene, 40, 60)
    assert found.label.tolist() == [7]
    assert found.boxes[0].tolist() == [[25, 15, 30, 25], [30, 14, 42, 26]]
    assert found.instances[0, 20, 20] == -1
    assert found.instances[0, 20, 27] == 0
    assert found.segmentation[0, 20, 27] == 7
    assert found.instances[0, 20, 32] == 1
    assert found.segmentation[0, 20, 32] == 3
    assert found.visible[0].tolist() == pytest.approx([0.5, 1.0])
    assert float(found.depth[0, 20, 20]) == math.inf
    assert float(found.depth[0, 16, 26]) == pytest.approx(4, rel=1e-5)
    assert float(found.depth[0, 25, 41]) == pytest.approx(2, rel=1e-5)


def test_what_is_hidden_or_out_of_view_has_no_box(device: torch.device) -> None:
    scene = face_on(square(1.0, 1.0), square(0.2, 0.0), square(0.2, 0.0, 50.0)).to(device)
    found = annotate(scene, 32, 32)
    assert found.boxes[0, 1:].isnan().all()
    assert found.visible[0].tolist() == [1, 0, 0]


def cast(scene: Scene, height: int, width: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Moeller and Trumbore (1997) for every pixel and face, in double."""
    positions = to_camera(to_world(scene), scene.camera)[0].double().numpy()
    faces = scene.faces[0].numpy()
    owner = scene.owners[0].numpy()[faces[:, 0]]
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    field = scene.camera[0, 3].double().expand(y.size)
    rays = pixel_rays(field, torch.tensor(y).double(), torch.tensor(x).double(), height, width)
    a, b, c = (positions[faces[:, i]] for i in range(3))
    ray = rays.numpy()[:, None]
    cross = np.cross(ray, (c - a)[None])
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (cross * (b - a)).sum(2)
        u = -(cross * a).sum(2) * inverse
        other = np.cross(-a, b - a)
        v = (other * ray).sum(2) * inverse
        depth = (other * (c - a)).sum(1) * inverse
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)
    depth = np.where(hit, depth, np.inf)
    nearest = depth.min(axis=1)
    shown = np.where(np.isfinite(nearest), owner[depth.argmin(axis=1)], -1)
    alone = [int(hit[:, owner == k].any(axis=1).sum()) for k in range(scene.pose.shape[1])]
    return shown.reshape(height, width), nearest.reshape(height, width), alone


def crowd(seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    names = ["car", "bench", "trashcan"] if seed else ["mailbox", "skateboard"]
    scene = compose([[procedural_mesh(name, generator) for name in names]],
                    [list(range(len(names)))])  # fmt: skip
    spread = torch.rand(1, len(names), 3, generator=generator) - 0.5
    camera = torch.tensor([[3.2, 0.5 + seed, 0.3, 0.7, 0.2, 0.1, 0.0, 0.0]])
    return scene.replace(translation=spread * 1.2, camera=camera, pose=spread * 3)


def test_crowds_are_what_rays_meet(device: torch.device) -> None:
    scenes = [crowd(0), crowd(1)]
    height, width = 24, 30
    found = annotate(concatenate(scenes).to(device), height, width)
    for i, scene in enumerate(scenes):
        shown, depth, alone = cast(scene, height, width)
        ours = found.instances[i].cpu().numpy()
        assert (ours != shown).mean() < 0.005  # centres on an edge
        same = (ours == shown) & np.isfinite(depth)
        np.testing.assert_allclose(found.depth[i].cpu().numpy()[same], depth[same], rtol=0.02)
        for k, covered in enumerate(alone):
            mask = ours == k
            assert float(found.visible[i, k]) == pytest.approx(mask.sum() / covered, abs=0.02)
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert found.boxes[i, k].tolist() == box
    # The smaller scene's missing third object is none.
    assert found.boxes[0, 2].isnan().all()
