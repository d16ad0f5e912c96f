"""Where meshes lie on disk: ShapeNetCore by synset, and folders of classes."""

import re
from pathlib import Path

from guard.errors import BadInput, nearest
from offline.rendering.meshes.files import FORMATS

__all__ = ["SYNSETS", "class_folder", "shapenet_models"]

SYNSETS = {
    "airplane": "02691156",
    "bench": "02828884",
    "trashcan": "02747177",
    "bus": "02924116",
    "car": "02958343",
    "helmet": "03513137",
    "mailbox": "03710193",
    "motorcycle": "03790512",
    "skateboard": "04225987",
    "tower": "04460130",
    "train": "04468005",
    "boat": "04530566",
}
"""The WordNet 3.0 offsets of the seeds' twelve classes, by which ShapeNetCore names its folders."""

LAYOUTS = ("models/model_normalized.obj", "model.obj")
"""Of a model's folder in ShapeNetCore v2, and in v1."""


def shapenet_models(root: Path, name: str) -> list[Path]:
    """List the OBJ files of a class of ShapeNetCore, v2 or v1, in the order of their model numbers.

    The models are upright (y up) and face -z; `Scene.pose` turns them.

    Args:
        root: the folder that holds a folder for each synset.
        name: one of `SYNSETS`, or the eight digits of any synset.

    Raises:
        BadInput: there is no such class, no folder of it, or no model in it.
    """
    synset = SYNSETS.get(name, name)
    if not re.fullmatch(r"\d{8}", synset):
        known = nearest(name, SYNSETS)
        raise BadInput(f"{name!r} is no class and not the eight digits of a synset{known}")
    folder = root / synset
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; {name!r} of ShapeNetCore is wanted there")
    models = []
    for model in sorted(folder.iterdir()):
        models += [path for path in map(model.joinpath, LAYOUTS) if path.is_file()][:1]
    if not models:
        raise BadInput(f"{folder}: no model; MODEL/{' or MODEL/'.join(LAYOUTS)} is wanted")
    return models


def class_folder(root: Path) -> dict[str, list[Path]]:
    """List the mesh files ROOT/CLASS/NAME by class; classes and files in alphabetical order.

    Raises:
        BadInput: there is no folder of a class, or one without a mesh file.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not folders:
        raise BadInput(f"{root}: no class folders; ROOT/CLASS/MESH is wanted")
    classes = {}
    for folder in folders:
        files = [path for path in folder.iterdir() if path.suffix.lower() in FORMATS]
        classes[folder.name] = sorted(path for path in files if path.is_file())
        if not classes[folder.name]:
            wanted = ", ".join(FORMATS)
            raise BadInput(f"{folder}: the class has no mesh file; allowed are {wanted}")
    return classes
