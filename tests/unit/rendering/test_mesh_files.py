"""Mesh files of every format: what is kept of them, what is warned of, what is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from guard.errors import BadInput
from offline.rendering.mesh_files import MeshSettings, MeshWarning, load_mesh

SQUARE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\n"
CORNERS = "vt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\n"
PAINTED = f"mtllib m.mtl\n{SQUARE}{CORNERS}usemtl a\nf 1/1 2/2 3/3\nf 2/2 4/4 3/3\n"


def obj(folder: Path, text: str, materials: str = "newmtl a\nKd 1 1 1\n") -> Path:
    (folder / "m.mtl").write_text(materials)
    path = folder / "m.obj"
    path.write_text(text)
    return path


def image(path: Path, rows: int = 40, columns: int = 60) -> np.ndarray:
    """Write a picture of random colours, more than a palette has; return its values."""
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values.transpose(2, 0, 1) / np.float32(255)


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
