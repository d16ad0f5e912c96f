"""Smooth normals against those of a sphere and of trimesh."""

import dataclasses

import pytest
import torch
import trimesh
from rich_scenes import rich_scene
from torch.nn.functional import avg_pool2d, normalize

from offline.rendering.camera import to_camera, to_screen, to_world, view_rotation
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.rasterizer.fragments import Fragments, fragments
from offline.rendering.rasterizer.normals import flat_normals, group_normals, smooth_normals
from offline.rendering.rasterizer.shading import shade
from offline.rendering.rasterizer.visibility import visible_faces
from offline.rendering.scene import PARAMETERS, Scene

SIZE = 48


def ball(subdivisions: int) -> Scene:
    """An icosphere whose every vertex is a group, turned and moved."""
    whole = trimesh.creation.icosphere(subdivisions)
    faces = torch.from_numpy(whole.faces.copy()).long()
    vertices = torch.from_numpy(whole.vertices.copy()).float()
    scene = single([Mesh("ball", vertices, faces, torch.ones(len(faces), 3))])
    scene = dataclasses.replace(scene, smoothing=faces[None])
    return scene.replace(
        pose=torch.tensor([[[0.4, -0.7, 1.1]]]), translation=torch.tensor([[[0.1, 0.2, -0.3]]])
    )


def seen_in(scene: Scene) -> Fragments:
    positions = to_camera(to_world(scene), scene.camera)
    screen = to_screen(positions, scene.camera[:, 3], SIZE, SIZE)
    return fragments(scene, positions, visible_faces(screen, scene.faces, SIZE, SIZE)[0])


def test_sums_around_vertices_point_where_trimesh_says(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    scene = ball(2).double()
    bumps = 0.1 * torch.randn(scene.vertices.shape, generator=generator).double()
    scene = scene.replace(vertices=bumps).to(device)
    positions = to_camera(to_world(scene), scene.camera)
    sums = group_normals(scene, positions)
    points, faces = positions[0].cpu().numpy(), scene.faces[0].cpu().numpy()
    crosses = trimesh.Trimesh(points, faces, process=False).triangles_cross
    mesh = trimesh.Trimesh(points, faces, process=False)
    wanted = trimesh.geometry.mean_vertex_normals(len(points), faces, crosses)
    found = normalize(sums[1 : 1 + len(points)], dim=1).cpu()
    torch.testing.assert_close(found, torch.from_numpy(wanted))
    assert mesh.is_winding_consistent
    assert (sums[0] == 0).all()


@pytest.mark.parametrize(("subdivisions", "error"), [(2, 0.03), (4, 0.008)])
def test_normals_of_a_fine_ball_are_those_of_the_sphere(
    subdivisions: int, error: float, device: torch.device
) -> None:
    scene = ball(subdivisions).double().to(device)
    seen = seen_in(scene)
    found = smooth_normals(scene, seen, seen.weights())
    centre = to_camera(scene.translation, scene.camera)[0]
    wanted = normalize(seen.places() - centre, dim=1)
    assert float((found - wanted).norm(dim=1).max()) < error
    flat = flat_normals(seen.faces)[seen.slot]
    assert float((flat - wanted).norm(dim=1).mean()) > 2 * float(
        (found - wanted).norm(dim=1).mean()
    )


def test_a_surface_seen_from_inside_faces_the_camera() -> None:
    scene = ball(2)
    inside = scene.replace(camera=torch.tensor([[0.1, 0.3, 0.2, 1.0, 0, 0.1, 0.2, -0.3]]))
    seen = seen_in(inside)
    for normals in (smooth_normals(inside, seen, seen.weights()), flat_normals(seen.faces)):
        rays = seen.rays if len(normals) == len(seen.rays) else seen.faces.corners[:, 0]
        assert float((normals * rays).sum(1).max()) < 0


def test_corners_without_a_group_and_faces_beyond_the_last_are_flat() -> None:
    scene = ball(1)
    half = len(scene.faces[0]) // 2
    smoothing = scene.smoothing[:, :half].clone()
    smoothing[:, ::2] = -1
    scene = dataclasses.replace(scene, smoothing=smoothing)
    seen = seen_in(scene)
    found = smooth_normals(scene, seen, seen.weights())
    flat = flat_normals(seen.faces)[seen.slot]
    plain = (seen.face >= half) | (seen.face % 2 == 0)
    assert 0 < int(plain.sum()) < len(plain)
    torch.testing.assert_close(found[plain], flat[plain])
    assert float((found[~plain] - flat[~plain]).norm(dim=1).mean()) > 0.05


def test_opposite_faces_of_one_group_are_flat() -> None:
    """Their normals cancel, and there is no mean of them."""
    points = torch.tensor([(-1.0, -1, 0), (1, -1, 0), (0, 1, 0)])
    faces = torch.tensor([[0, 1, 2], [0, 2, 1]])
    scene = single([Mesh("leaf", points, faces, torch.ones(2, 3))])
    scene = dataclasses.replace(scene, smoothing=faces[None])
    seen = seen_in(scene)
    found = smooth_normals(scene, seen, seen.weights())
    forward = view_rotation(scene.camera)[:, :, 2].expand_as(found)
    torch.testing.assert_close(found, forward)


def test_a_smooth_ball_has_no_borders_inside(device: torch.device) -> None:
    """Where no pixel around shows the background, each has the colour that is shaded there."""
    scene = ball(2).to(device)
    image = Rasterizer(SIZE, SIZE, samples=1).radiance(scene)[0]
    seen = seen_in(scene)
    bare = torch.ones(SIZE * SIZE, 3, device=device).index_put((seen.number,), shade(scene, seen))
    bare = bare.T.view(3, SIZE, SIZE)
    covered = torch.zeros(SIZE * SIZE, device=device)
    covered[seen.number] = 1
    core = avg_pool2d(covered.view(1, SIZE, SIZE), 3, 1, 1)[0] == 1
    same = (image - bare).abs().amax(0) < 1e-6
    assert same[core].all()
    assert int((~same).sum()) > 50


def test_everything_at_once_is_the_same_bits_twice_and_in_any_batch(device: torch.device) -> None:
    scenes = [rich_scene(seed).to(device) for seed in range(3)]
    batch = Scene(
        **{
            name: torch.cat([scene.tensors()[name] for scene in scenes])
            for name in scenes[0].tensors()
        }
    )
    renderer = Rasterizer(SIZE, SIZE)

    def gradients() -> list[torch.Tensor]:
        theta = {k: batch.parameters()[k].clone().requires_grad_() for k in PARAMETERS}
        image = renderer.render(batch.replace(**theta))
        return [image, *torch.autograd.grad((image**2).sum(), list(theta.values()))]

    first, second = gradients(), gradients()
    for name, a, b in zip(("image", *PARAMETERS), first, second, strict=True):
        assert torch.equal(a, b), name
        assert a.isfinite().all(), name
        assert a.abs().sum() > 0, name
    alone = torch.cat([renderer.render(scene) for scene in scenes])
    torch.testing.assert_close(alone, first[0].detach(), atol=1e-6, rtol=0)
    fine = torch.cat([renderer.render(scene.double()) for scene in scenes])
    assert float((alone - fine).abs().mean()) < 1e-4
