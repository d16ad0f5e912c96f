"""Scenes and their images, differentiable in every scene parameter."""

from offline.rendering.composing import compose, single
from offline.rendering.mesh_files import MeshSettings, MeshWarning, load_mesh
from offline.rendering.meshes import Mesh
from offline.rendering.out_of_view import OutOfViewWarning, out_of_view
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import SceneRanges, place_meshes, sample_scenes
from offline.rendering.scene import PARAMETERS, Scene, concatenate
from offline.rendering.scene_files import load_scene, save_scene
from offline.rendering.shapenet import class_folder, shapenet_models

__all__ = [
    "PARAMETERS",
    "Mesh",
    "MeshSettings",
    "MeshWarning",
    "OutOfViewWarning",
    "Rasterizer",
    "Renderer",
    "Scene",
    "SceneRanges",
    "class_folder",
    "compose",
    "concatenate",
    "load_mesh",
    "load_scene",
    "out_of_view",
    "place_meshes",
    "sample_scenes",
    "save_scene",
    "shapenet_models",
    "single",
]
