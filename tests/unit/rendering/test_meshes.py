"""Meshes: edges, files of every format, the objects of the twelve classes, what is refused."""

from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image

from guard.errors import BadInput
from offline.rendering.mesh_files import load_mesh
from offline.rendering.meshes import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import sample_scenes

TRIANGLE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
GREY = torch.full((1, 3), 0.5)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_makes_valid_meshes_that_differ(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    meshes = [procedural_mesh(name, generator) for _ in range(12)]
    for mesh in meshes:
        assert 140 <= len(mesh.faces) <= 1500
        assert float(mesh.vertices.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
        assert 0 <= float(mesh.colours.min()) <= float(mesh.colours.max()) <= 1
        assert len(mesh.colours.unique(dim=0)) > 1
    assert len({float(mesh.vertices.std()) for mesh in meshes}) == 12
    again = procedural_mesh(name, torch.Generator().manual_seed(5))
    assert torch.equal(again.vertices, meshes[0].vertices)
    assert torch.equal(again.colours, meshes[0].colours)


def test_every_sampled_object_is_in_view() -> None:
    labels = torch.arange(len(CLASSES)).repeat(8)
    scene = sample_scenes(labels, torch.Generator().manual_seed(1), 32)
    coverage = Rasterizer(32, 32, samples=1).coverage(scene)
    assert coverage.min() > 0.01
    assert coverage.max() < 0.8


def test_a_class_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'trashcan'"):
        procedural_mesh("trashcans", torch.Generator())
    with pytest.raises(BadInput, match="label 12: allowed are 0 to 11"):
        sample_scenes(torch.tensor([3, 12]), torch.Generator(), 16)


def test_edges_name_their_faces() -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    vertices = torch.cat((TRIANGLE, torch.tensor([[1.0, 1, 0]])))
    edges = Mesh("two", vertices, faces, GREY.repeat(2, 1)).edges.tolist()
    assert sorted(edges) == [
        [0, 1, 0, -1],
        [0, 2, 0, -1],
        [1, 2, 0, 1],
        [1, 3, 1, -1],
        [2, 3, 1, -1],
    ]


def test_a_closed_mesh_has_the_edges_of_euler() -> None:
    solid = trimesh.creation.icosphere(subdivisions=2)
    mesh = Mesh(
        "ball", torch.tensor(solid.vertices).float(), torch.tensor(solid.faces).long(),
        torch.ones(len(solid.faces), 3),
    )  # fmt: skip
    assert len(mesh.edges) == len(mesh.vertices) + len(mesh.faces) - 2
    assert (mesh.edges >= 0).all()


@pytest.mark.parametrize(
    ("faces", "vertices", "message"),
    [
        (torch.zeros(0, 3).long(), TRIANGLE, "mesh 'bad' has no faces"),
        (torch.tensor([[0, 1, 3]]), TRIANGLE, "names vertex 3, allowed are 0 to 2"),
        (torch.tensor([[0, 1, -1]]), TRIANGLE, "names vertex -1"),
        (torch.tensor([[0, 1, 2]]), TRIANGLE * float("nan"), "mesh 'bad': 3 vertices are NaN"),
    ],
)
def test_a_bad_mesh_is_named(faces: torch.Tensor, vertices: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Mesh("bad", vertices, faces, GREY[: len(faces)])


@pytest.mark.parametrize("suffix", ["obj", "glb", "ply", "off"])
def test_files_are_centred_scaled_and_keep_their_colours(tmp_path: Path, suffix: str) -> None:
    solid = trimesh.creation.box((2.0, 4.0, 6.0), face_colors=[255, 0, 0, 255])
    solid.apply_translation((5, 6, 7))
    path = tmp_path / f"box.{suffix}"
    solid.export(path)
    mesh = load_mesh(path)
    assert mesh.faces.shape == (12, 3)
    assert mesh.vertices.shape == (8, 3)
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor([1.0, 2, 3]) / 14**0.5)
    torch.testing.assert_close(mesh.vertices.amin(0), torch.tensor([-1.0, -2, -3]) / 14**0.5)
    if suffix != "off":  # the format has no colours as trimesh writes it
        torch.testing.assert_close(mesh.colours.mean(0), torch.tensor([1.0, 0, 0]))


def test_materials_of_an_obj_become_colours_of_faces(tmp_path: Path) -> None:
    (tmp_path / "two.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 0 1\n")
    (tmp_path / "two.obj").write_text(
        "mtllib two.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nusemtl a\nf 1 2 3\nusemtl b\nf 2 4 3\n"
    )
    mesh = load_mesh(tmp_path / "two.obj")
    assert len(mesh.vertices) == 4
    assert sorted(mesh.colours.tolist()) == [[0, 0, 1], [1, 0, 0]]


def test_a_picture_becomes_the_colours_of_faces(tmp_path: Path) -> None:
    palette = Image.new("RGB", (16, 8), (255, 0, 0))
    palette.paste((0, 255, 0), (8, 0, 16, 8))
    palette.save(tmp_path / "palette.png")
    (tmp_path / "two.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd palette.png\n")
    (tmp_path / "two.obj").write_text(
        "mtllib two.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0.2 0.5\nvt 0.8 0.5\nusemtl a\n"
        "f 1/1 2/1 3/1\nf 2/2 4/2 3/2\n"
    )
    mesh = load_mesh(tmp_path / "two.obj")
    assert len(mesh.vertices) == 4
    assert sorted(mesh.colours.tolist()) == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", "v 0 0 0\nv 1 0 0\n", "has no faces|not a mesh"),
        ("a.txt", "", "not a mesh file; allowed are .obj"),
        ("a.glb", "no glTF at all", "not a mesh"),
        ("a.off", "OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n", "NaN|no faces"),
    ],
)
def test_a_file_that_holds_no_mesh_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput, match=message) as error:
        load_mesh(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_mesh(tmp_path / "none.obj")
