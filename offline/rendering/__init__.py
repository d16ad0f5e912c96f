"""Scenes and their images, differentiable in every scene parameter."""

from offline.rendering.composing import compose, single
from offline.rendering.meshes import (
    Mesh,
    MeshSettings,
    MeshWarning,
    class_folder,
    load_mesh,
    shapenet_models,
)
from offline.rendering.out_of_view import OutOfViewWarning, out_of_view
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import SceneRanges, place_meshes, sample_scenes
from offline.rendering.scene import PARAMETERS, Scene, concatenate
from offline.rendering.scene_files import load_scene, save_scene

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
