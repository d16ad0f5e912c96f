"""Which face a pixel shows, against the rays of embree."""

import numpy as np
import pytest
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from offline.rendering.camera import pixel_rays, to_camera, to_screen, to_world
from offline.rendering.procedural import CLASSES
from offline.rendering.rasterizer.visibility import expand, strongest, visible_faces, winners
from offline.rendering.sampling import sample_scenes

SIZE = 96


@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_the_visible_face_is_the_one_that_embree_hits(label: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(label)
    scene = sample_scenes(torch.tensor([label] * 2), generator, SIZE).to(device)
    positions = to_camera(to_world(scene), scene.camera)
    screen = to_screen(positions, scene.camera[:, 3], SIZE, SIZE)
    visible, inverse = visible_faces(screen, scene.faces, SIZE, SIZE)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for i in range(len(scene)):
        field = scene.camera[i, 3].cpu().expand(SIZE * SIZE)
        rays = pixel_rays(field, y.flatten().float(), x.flatten().float(), SIZE, SIZE).numpy()
        faces = scene.faces[i][scene.faces[i, :, 0] >= 0].cpu().numpy()
        mesh = trimesh.Trimesh(positions[i].cpu().numpy(), faces, process=False)
        hit = RayMeshIntersector(mesh).intersects_first(np.zeros_like(rays), rays)
        same = hit == visible[i].flatten().cpu().numpy()
        assert (hit >= 0).mean() > 0.02
        assert same.mean() >= 0.995
    assert ((inverse > 0) == (visible >= 0)).all()


def test_two_triangles_share_their_edge_without_crack_or_overlap(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(64, 4, 2, generator=generator) * 80 - 8
    centre = corners.mean(1, keepdim=True)
    order = torch.atan2(*(corners - centre).unbind(2)).argsort(1)  # no quadrangle crosses itself
    corners = torch.cat((corners.gather(1, order[:, :, None].expand(-1, -1, 2)), centre), dim=1)
    screen = torch.cat((corners, torch.full((64, 5, 1), 0.5)), dim=2).to(device)
    fan = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], device=device)
    visible, _ = visible_faces(screen, fan.repeat(64, 1, 1), 64, 64)
    alone = [
        visible_faces(screen, fan[k : k + 1].repeat(64, 1, 1), 64, 64)[0] >= 0 for k in range(4)
    ]
    star = torch.stack(alone).sum(0)
    assert star.max() == 1
    assert torch.equal(star > 0, visible >= 0)


def test_faces_at_the_camera_or_behind_it_are_left_out(device: torch.device) -> None:
    screen = torch.tensor(
        [[[0, 0, -1.0], [9, 0, -1], [0, 9, -1]], [[0, 0, 50.0], [9, 0, 50], [0, 9, 30]]]
    )
    faces = torch.tensor([[[0, 1, 2]]] * 2)
    visible, inverse = visible_faces(screen.to(device), faces.to(device), 8, 8)
    assert (visible == -1).all()
    assert (inverse == 0).all()


def test_the_strongest_of_each_slot_and_the_first_of_equals(device: torch.device) -> None:
    slot = torch.tensor([2, 0, 2, 2, 0], device=device)
    score = torch.tensor([0.5, 0.0, 1.5, 1.5, 0.0], device=device)
    assert strongest(slot, score, 4).tolist() == [1, -1, 2, -1]
    assert winners(slot, score, 4).tolist() == [1, 2]


def test_expand_counts_the_items_of_each_owner(device: torch.device) -> None:
    owner, number = expand(torch.tensor([2, 0, 3], device=device))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [0, 1, 0, 1, 2]
