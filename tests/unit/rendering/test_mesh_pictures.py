"""The colours of mesh files: materials, pictures, vertex colours, and those that are missing."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from mesh_samples import PAINTED, SQUARE, image, obj
from PIL import Image

from offline.rendering.meshes.files import MeshSettings, MeshWarning, load_mesh


def test_materials_of_an_obj_become_colours_of_faces(tmp_path: Path) -> None:
    text = f"mtllib m.mtl\n{SQUARE}usemtl a\nf 1 2 3\nusemtl b\nf 2 4 3\n"
    mesh = load_mesh(obj(tmp_path, text, "newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 0 1\nd 0.2\n"))
    assert len(mesh.vertices) == 4
    assert sorted(mesh.colours.tolist()) == [[0, 0, 1], [1, 0, 0]]
    assert mesh.pictures == ()


@pytest.mark.parametrize(
    ("materials", "colour"),
    [("newmtl a\nKd 0.2 0.4 1\n", (0.2, 0.4, 1)), ("newmtl a\nKs 1 1 1\n", (1.0, 1, 1))],
    ids=["with a colour", "without"],
)
def test_a_picture_is_kept_with_its_places_and_its_material_s_colour(
    tmp_path: Path, materials: str, colour: tuple[float, ...]
) -> None:
    values = image(tmp_path / "p.png")
    mesh = load_mesh(obj(tmp_path, PAINTED, f"{materials}map_Kd p.png\n"))
    assert len(mesh.pictures) == 1
    np.testing.assert_array_equal(mesh.pictures[0].numpy(), values)
    assert mesh.tile.tolist() == [0, 0]
    # The file's texture coordinates are its vertices' own x and y.
    places = mesh.vertices[mesh.faces][..., :2]
    places = (places - places.amin((0, 1))) / (places.amax((0, 1)) - places.amin((0, 1)))
    torch.testing.assert_close(mesh.uv, places)
    torch.testing.assert_close(mesh.colours, torch.tensor([colour] * 2))


@pytest.mark.parametrize("suffix", ["glb", "ply"])
def test_pictures_of_other_formats_lie_the_same_way_up(tmp_path: Path, suffix: str) -> None:
    image(tmp_path / "p.png")
    wanted = load_mesh(obj(tmp_path, PAINTED, "newmtl a\nmap_Kd p.png\n"))
    path = tmp_path / f"again.{suffix}"
    part = trimesh.load_scene(tmp_path / "m.obj").to_geometry()
    if suffix == "ply":  # trimesh writes the places and leaves the picture's name to us
        part.export(path, vertex_normal=False)
        head, body = path.read_bytes().split(b"\n", 1)
        path.write_bytes(head + b"\n" + body.replace(
            b"element vertex", b"comment TextureFile p.png\nelement vertex", 1))  # fmt: skip
    else:
        part.export(path)
    mesh = load_mesh(path)
    assert mesh.pictures[0].equal(wanted.pictures[0])
    assert sorted(mesh.uv.flatten(1).tolist()) == sorted(wanted.uv.flatten(1).tolist())


def test_a_part_in_two_places_has_one_picture(tmp_path: Path) -> None:
    image(tmp_path / "p.png")
    part = trimesh.load_scene(obj(tmp_path, PAINTED, "newmtl a\nmap_Kd p.png\n")).to_geometry()
    scene = trimesh.Scene()
    scene.add_geometry(part, node_name="here", geom_name="part")
    away = trimesh.transformations.translation_matrix((0, 0, 3))
    scene.add_geometry(part, node_name="there", geom_name="part", transform=away)
    scene.export(tmp_path / "two.glb")
    mesh = load_mesh(tmp_path / "two.glb")
    assert len(mesh.faces) == 4
    assert len(mesh.pictures) == 1
    assert len(mesh.vertices[:, 2].unique()) == 2


def test_a_palette_is_enlarged_so_that_its_colours_stay_apart(tmp_path: Path) -> None:
    values = image(tmp_path / "p.png", 2, 4)
    mesh = load_mesh(obj(tmp_path, PAINTED, "newmtl a\nmap_Kd p.png\n"))
    np.testing.assert_array_equal(mesh.pictures[0].numpy(), np.kron(values, np.ones((1, 8, 8))))


def test_a_large_picture_is_reduced_with_a_note(tmp_path: Path) -> None:
    image(tmp_path / "p.png", 50, 100)
    path = obj(tmp_path, PAINTED, "newmtl a\nmap_Kd p.png\n")
    with pytest.warns(MeshWarning, match=r"p\.png of 100 x 50 texels is reduced to 40 x 20"):
        mesh = load_mesh(path, MeshSettings(texels=40))
    assert mesh.pictures[0].shape == (3, 20, 40)


def test_vertex_colours_are_a_factor(tmp_path: Path) -> None:
    part = trimesh.creation.box()
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 102, 255, 255])
    part.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=material)
    part.visual.vertex_attributes["color"] = np.full((8, 4), (51, 255, 255, 255), dtype=np.uint8)
    part.export(tmp_path / "box.glb")
    colours = load_mesh(tmp_path / "box.glb").colours
    torch.testing.assert_close(colours, torch.tensor([[0.2, 0.4, 1.0]] * 12))


def test_a_picture_beside_the_folder_is_found_as_in_shapenet(tmp_path: Path) -> None:
    image(tmp_path / "images" / "texture0.png")
    (tmp_path / "models").mkdir()
    path = obj(tmp_path / "models", PAINTED, "newmtl a\nmap_Kd ..\\images\\texture0.png\n")
    assert len(load_mesh(path).pictures) == 1


@pytest.mark.parametrize("name", ["none.png", "broken.png", "../../secret.png", "/etc/passwd.png"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    image(tmp_path / "secret.png")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "broken.png").write_bytes(b"no picture")
    path = obj(folder, PAINTED, f"newmtl a\nKd 1 0 0\nmap_Kd {name}\n")
    with pytest.warns(MeshWarning) as caught:
        mesh = load_mesh(path)
    assert [str(each.message) for each in caught] == [
        f"mesh '{path}': cannot read '{name}', which it names"
    ]
    assert mesh.pictures == ()
    assert mesh.colours.tolist() == [[1, 0, 0]] * 2


def test_a_picture_that_ends_early_is_named(tmp_path: Path) -> None:
    image(tmp_path / "p.png")
    whole = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(whole[: len(whole) // 2])
    path = obj(tmp_path, PAINTED, "newmtl a\nKd 0 1 0\nmap_Kd p.png\n")
    with pytest.warns(MeshWarning, match=r"p\.png does not decode .* its material's colour"):
        assert load_mesh(path).colours.tolist() == [[0, 1, 0]] * 2


def test_missing_materials_are_named(tmp_path: Path) -> None:
    path = obj(tmp_path, PAINTED.replace("m.mtl", "other.mtl"))
    with pytest.warns(MeshWarning, match=r"cannot read 'other\.mtl', which it names"):
        mesh = load_mesh(path)
    assert len(mesh.pictures[0].unique()) == 1  # a grey stands in for what the file names
    assert 0.3 < float(mesh.pictures[0].mean() * mesh.colours.mean()) < 0.5


def test_a_simplified_mesh_takes_its_colours_from_its_pictures(tmp_path: Path) -> None:
    columns, rows = 24, 12
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    lines = [f"v {x} {y} {0.1 * x * y}\nvt {x} {y}" for x, y in zip(u.flat, v.flat, strict=True)]
    for row in range(rows - 1):
        for column in range(columns - 1):
            a = row * columns + column + 1
            b, c, d = a + 1, a + columns, a + columns + 1
            lines += [f"f {a}/{a} {b}/{b} {d}/{d}", f"f {a}/{a} {d}/{d} {c}/{c}"]
    halves = Image.new("RGB", (64, 64), (0, 0, 255))
    halves.paste((255, 0, 0), (0, 0, 64, 32))  # the upper half
    halves.save(tmp_path / "p.png")
    text = "mtllib m.mtl\nusemtl a\n" + "\n".join(lines)
    path = obj(tmp_path, text, "newmtl a\nmap_Kd p.png\n")
    with pytest.warns(MeshWarning, match="simplified from 506"):
        mesh = load_mesh(path, MeshSettings(faces=200))
    assert mesh.pictures == ()
    height = mesh.vertices[mesh.faces].mean(1)[:, 1]
    for chosen, colour in ((height > 0.1, [1, 0, 0]), (height < -0.1, [0, 0, 1])):
        assert mesh.colours[chosen].unique(dim=0).tolist() == [colour]
