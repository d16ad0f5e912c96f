"""Mesh files of every format: their faces and what is smooth, and what is warned of or refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from mesh_samples import SQUARE, obj

from guard.errors import BadInput
from offline.rendering.meshes.files import MeshSettings, MeshWarning, load_mesh


@pytest.mark.parametrize("suffix", ["obj", "glb", "gltf", "ply", "off", "stl"])
def test_files_are_centred_scaled_and_keep_their_colours(tmp_path: Path, suffix: str) -> None:
    solid = trimesh.creation.box((2.0, 4.0, 6.0), face_colors=[255, 0, 0, 255])
    solid.apply_translation((5, 6, 7))
    path = tmp_path / f"box.{suffix}"
    if suffix == "gltf":  # a file of its own and one of its numbers
        for name, content in solid.scene().export(file_type="gltf").items():
            (tmp_path / name.replace("model.gltf", path.name)).write_bytes(content)
    else:
        solid.export(path)
    mesh = load_mesh(path)
    assert mesh.faces.shape == (12, 3)
    assert mesh.vertices.shape == (8, 3)
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor([1.0, 2, 3]) / 14**0.5)
    torch.testing.assert_close(mesh.vertices.amin(0), torch.tensor([-1.0, -2, -3]) / 14**0.5)
    if suffix not in ("off", "stl"):  # which have no colours as trimesh writes them
        torch.testing.assert_close(mesh.colours.mean(0), torch.tensor([1.0, 0, 0]))


@pytest.mark.parametrize(
    ("faces", "left", "message"),
    [
        ("f 1 2 3\nf 1 2 2\nf 1 1 1\n", 1, "faces without area left out: 2"),
        ("f 1 2 3\nf 1 2 5\n", 1, "faces without area left out: 1"),
        ("f 1 2 3\nf 3 2 1\nf 2 3 1\n", 1, "duplicate faces left out: 2"),
        ("f 1 2 3\nf 1 2 4\nf 1 2 6\n", 3, "edges of more than two faces: 1"),
        ("f 1 2 3\nf 1 7 3\n", 1, "duplicate faces left out: 1"),
    ],
    ids=["corners", "line", "duplicates", "edge", "duplicate place"],
)
def test_bad_faces_are_counted(tmp_path: Path, faces: str, left: int, message: str) -> None:
    more = "v 0.5 0 0\nv 0 0 1\nv 1 0 0\n"
    path = obj(tmp_path, SQUARE + more + faces)
    with pytest.warns(MeshWarning) as caught:
        mesh = load_mesh(path)
    assert [str(each.message) for each in caught] == [f"mesh '{path}': {message}"]
    assert len(mesh.faces) == left
    assert len(mesh.vertices) == len(mesh.faces.unique())


def folded(degrees: float) -> str:
    """Return two squares of two triangles each that share an edge at which they bend."""
    x, z = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    vertices = f"{SQUARE}v {1 + x} 0 {z}\nv {1 + x} 1 {z}\n"
    return vertices + "f 1 2 4\nf 1 4 3\nf 2 5 6\nf 2 6 4\n"


@pytest.mark.parametrize(("bend", "smooth"), [(25, True), (35, False)])
def test_a_file_without_normals_is_smooth_up_to_the_crease(
    tmp_path: Path, bend: float, smooth: bool
) -> None:
    mesh = load_mesh(obj(tmp_path, folded(bend)))
    ridge = (mesh.smoothing >= 0) & (mesh.vertices[mesh.faces][..., 0].abs() < 0.1)
    assert int((mesh.smoothing >= 0).sum()) == (6 if smooth else 0)
    assert int(ridge.sum()) == (6 if smooth else 0)  # those, and no corner of one plane
    if smooth:
        groups = [set(mesh.smoothing[mesh.faces == v].tolist()) for v in mesh.faces[ridge].unique()]
        assert sorted(len(group) for group in groups) == [1, 1]
        assert groups[0] != groups[1]


def test_the_normals_of_a_file_say_what_is_smooth(tmp_path: Path) -> None:
    # The ball is smooth by its normals, though it bends by more than 30° at every edge.
    ball, box = trimesh.creation.icosphere(subdivisions=0), trimesh.creation.box()
    assert ball.face_adjacency_angles.min() > np.deg2rad(30)
    corners, normals = box.triangles.reshape(-1, 3), box.face_normals.repeat(3, 0)
    faces = np.arange(36).reshape(-1, 3)
    sharp = trimesh.Trimesh(corners, faces, vertex_normals=normals, process=False)
    for name, part in (("ball", ball), ("box", sharp)):
        path = tmp_path / f"{name}.glb"
        path.write_bytes(trimesh.exchange.gltf.export_glb(part.scene(), include_normals=True))
    smooth, flat = load_mesh(tmp_path / "ball.glb"), load_mesh(tmp_path / "box.glb")
    assert len(flat.vertices) == 8
    assert (flat.smoothing == -1).all()
    assert len(smooth.smoothing.unique()) == len(smooth.vertices) == 12
    for group in smooth.smoothing.unique():
        assert len(smooth.faces[smooth.smoothing == group].unique()) == 1


def test_a_gltf_without_normals_is_flat(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    path = tmp_path / "ball.glb"
    path.write_bytes(trimesh.exchange.gltf.export_glb(ball.scene(), include_normals=False))
    assert (load_mesh(path).smoothing == -1).all()


@pytest.mark.parametrize("stretch", [(1, 1, 1), (-1, 2, 0.5)], ids=["as made", "mirrored"])
def test_faces_are_wound_as_the_normals_of_the_file_say(
    tmp_path: Path, stretch: tuple[float, ...]
) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    normals = ball.vertex_normals.copy()
    faces = ball.faces.copy()
    faces[::2] = faces[::2, ::-1]
    mixed = trimesh.Trimesh(ball.vertices, faces, vertex_normals=normals, process=False)
    path = tmp_path / "ball.glb"
    scene = trimesh.Scene()
    scene.add_geometry(mixed, transform=np.diag((*stretch, 1)))
    path.write_bytes(trimesh.exchange.gltf.export_glb(scene, include_normals=True))
    corners = load_mesh(path).vertices[load_mesh(path).faces]
    outward = torch.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
    assert ((outward * corners.mean(1)).sum(1) > 0).all()


def ply(folder: Path, change: Callable[[np.ndarray], None] = lambda vertices: None) -> Path:
    solid = trimesh.creation.icosphere(subdivisions=4)
    vertices = solid.vertices.copy()
    change(vertices)
    red = vertices[solid.faces].mean(axis=1)[:, :1] > 0
    colours = np.where(red, (255, 0, 0, 255), (0, 0, 255, 255)).astype(np.uint8)
    path = folder / "ball.ply"
    trimesh.Trimesh(vertices, solid.faces, face_colors=colours, process=False).export(path)
    return path


def test_a_mesh_of_too_many_faces_is_simplified(tmp_path: Path) -> None:
    with pytest.warns(MeshWarning, match="simplified from 5120 to 500 faces, painted by face"):
        mesh = load_mesh(ply(tmp_path), MeshSettings(faces=500))
    assert len(mesh.faces) == 500
    assert (mesh.edges >= 0).all()  # still closed
    torch.testing.assert_close(mesh.vertices.norm(dim=1), torch.ones(len(mesh.vertices)),
                               atol=0.02, rtol=0)  # fmt: skip
    side = mesh.vertices[mesh.faces].mean(1)[:, 0]
    clear = side.abs() > 0.1
    assert mesh.colours[clear & (side > 0)].unique(dim=0).tolist() == [[1, 0, 0]]
    assert mesh.colours[clear & (side < 0)].unique(dim=0).tolist() == [[0, 0, 1]]
    assert (mesh.smoothing >= 0).all()  # its normals are gone, and it bends by less than 30°


def nan(vertices: np.ndarray) -> None:
    vertices[[3, 70], 1] = np.nan, np.inf


def test_vertices_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ball\.ply': 2 vertices are NaN or infinite"):
        load_mesh(ply(tmp_path, nan))


def test_a_vertex_that_no_face_uses_is_no_part_of_the_mesh(tmp_path: Path) -> None:
    mesh = load_mesh(obj(tmp_path, SQUARE + "v nan 0 0\nv 90 90 90\nf 1 2 3\nf 2 4 3\n"))
    assert len(mesh.vertices) == 4
    assert float(mesh.vertices.norm(dim=1).max()) == pytest.approx(1)


def test_a_file_whose_z_is_up_is_set_upright(tmp_path: Path) -> None:
    tower = trimesh.creation.cone(radius=1, height=4)  # along z, its tip up
    tower.export(tmp_path / "tower.stl")
    mesh = load_mesh(tmp_path / "tower.stl", MeshSettings(up="z"))
    size = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    assert float(size[1] / size[0]) == pytest.approx(2)
    assert int((mesh.vertices[:, 1] > 0).sum()) == 1
    corners = mesh.vertices[mesh.faces]
    outward = torch.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
    assert ((outward * (corners.mean(1) - torch.tensor([0, -0.4, 0]))).sum(1) > 0).all()


def test_coordinates_of_a_map_keep_their_digits(tmp_path: Path) -> None:
    away = "".join(f"v {4e6 + x} {y} {5e6}\n" for x, y in ((0, 0), (0.1, 0), (0, 0.1)))
    mesh = load_mesh(obj(tmp_path, away + "f 1 2 3\n"))
    sides = (mesh.vertices - mesh.vertices.roll(1, 0)).norm(dim=1).sort().values
    torch.testing.assert_close(sides / sides[0], torch.tensor([1, 1, 2**0.5]), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", "v 0 0 0\nv 1 0 0\n", "has no faces"),
        ("b.obj", SQUARE + "f 1 2 2\n", "has no faces that have an area"),
        ("c.obj", SQUARE + "f 1 2 9\n", "not a mesh|names vertex"),
        ("a.txt", "", "not a mesh file; allowed are .obj"),
        ("a.glb", "no glTF at all", "not a mesh"),
        ("a.stl", "", "not a mesh|has no faces"),
        ("a.off", "OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n", "1 vertices are NaN"),
        ("b.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "not a mesh|names vertex"),
    ],
)
def test_a_file_that_holds_no_mesh_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeshWarning)
        with pytest.raises(BadInput, match=message) as error:
            load_mesh(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_mesh(tmp_path / "none.obj")
