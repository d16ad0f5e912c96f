"""Triangle meshes, and where they come from: files, ShapeNet's folders, folders of classes."""

from offline.rendering.meshes.files import MeshSettings, MeshWarning, load_mesh
from offline.rendering.meshes.mesh import Mesh, merged
from offline.rendering.meshes.shapenet import class_folder, shapenet_models

__all__ = [
    "Mesh",
    "MeshSettings",
    "MeshWarning",
    "class_folder",
    "load_mesh",
    "merged",
    "shapenet_models",
]
