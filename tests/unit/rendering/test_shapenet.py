"""Meshes on disk: both layouts of ShapeNetCore, folders of classes, what is said of mistakes."""

from pathlib import Path

import pytest
import trimesh

from guard.errors import BadInput
from offline.rendering.meshes.files import load_mesh
from offline.rendering.meshes.shapenet import SYNSETS, class_folder, shapenet_models
from offline.rendering.procedural import CLASSES


def box(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    trimesh.creation.box().export(path)
    return path


def test_the_synsets_are_of_the_procedural_classes() -> None:
    assert tuple(SYNSETS) == CLASSES
    assert len(set(SYNSETS.values())) == len(CLASSES)


@pytest.mark.parametrize("name", ["bus", "02924116"])
def test_models_of_both_layouts_are_found_in_order(tmp_path: Path, name: str) -> None:
    old = box(tmp_path / "02924116" / "b0" / "model.obj")
    new = box(tmp_path / "02924116" / "a1" / "models" / "model_normalized.obj")
    (tmp_path / "02924116" / "c2").mkdir()  # a model of which only pictures were unpacked
    (tmp_path / "02924116" / "list.csv").write_text("a1\n")
    box(tmp_path / "02958343" / "d3" / "model.obj")
    assert shapenet_models(tmp_path, name) == [new, old]
    assert len(load_mesh(new).faces) == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("buss", "did you mean 'bus'"),
        ("../02924116", "no class and not the eight digits"),
        ("car", "02958343: no such folder"),
        ("04468005", "04468005: no model; MODEL/models/model_normalized.obj or MODEL/model.obj"),
    ],
)
def test_a_class_that_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "04468005" / "empty").mkdir(parents=True)
    with pytest.raises(BadInput, match=message):
        shapenet_models(tmp_path, name)


def test_a_folder_of_classes_is_listed(tmp_path: Path) -> None:
    glb, obj = box(tmp_path / "truck" / "red.glb"), box(tmp_path / "car" / "taxi.OBJ")
    (tmp_path / "car" / "taxi.mtl").write_text("newmtl a\n")
    (tmp_path / "README").write_text("of meshes")
    assert class_folder(tmp_path) == {"car": [obj], "truck": [glb]}


def test_a_folder_without_classes_or_meshes_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no class folders; ROOT/CLASS/MESH is wanted"):
        class_folder(tmp_path / "none")
    (tmp_path / "car").mkdir()
    with pytest.raises(BadInput, match="car: the class has no mesh file"):
        class_folder(tmp_path)
