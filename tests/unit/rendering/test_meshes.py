"""Meshes: edges, the objects of the twelve classes, what is refused."""

from typing import Any

import pytest
import torch
import trimesh

from guard.errors import BadInput
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import sample_scenes

TRIANGLE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
ONE = torch.tensor([[0, 1, 2]])
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"uv": torch.zeros(2, 3, 2), "tile": torch.tensor([-1, -1])}, "2 rows of uv; 0 to 1"),
        ({"uv": torch.zeros(1, 3, 2), "tile": torch.tensor([0])}, "shows picture 0, .* -1 to -1"),
        ({"smoothing": torch.tensor([[0, 1, 3]])}, "smoothing group 3, allowed are -1 to 2"),
        ({"smoothing": torch.zeros(2, 3).long()}, "2 rows of smoothing; 0 to 1 are wanted"),
        ({"pictures": (torch.full((3, 2, 2), 1.5),)}, "a picture is empty or outside"),
        ({"pictures": (torch.zeros(3, 0, 2),)}, "a picture is empty or outside"),
        ({"colours": torch.tensor([[0.0, 0, -0.1]])}, "a colour is empty or outside"),
    ],
)
def test_bad_pictures_and_groups_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"mesh 'bad'.*{message}"):
        Mesh(**{"name": "bad", "vertices": TRIANGLE, "faces": ONE, "colours": GREY, **fields})


def test_scaling_keeps_all_but_the_vertices() -> None:
    mesh = Mesh(
        "one", TRIANGLE * 5 + 3, ONE, GREY, torch.rand(1, 3, 2), torch.tensor([0]),
        (torch.rand(3, 2, 2),), torch.tensor([[0, -1, 1]]),
    )  # fmt: skip
    scaled = mesh.normalised()
    assert float(scaled.vertices.norm(dim=1).max()) == pytest.approx(1)
    assert scaled.vertices.amin(0).equal(-scaled.vertices.amax(0))
    for name in ("faces", "colours", "uv", "tile", "pictures", "smoothing"):
        assert getattr(scaled, name) is getattr(mesh, name)
