"""Scenes and their images, differentiable in every scene parameter."""

from offline.rendering.composing import compose, single
from offline.rendering.mesh_files import MeshSettings, MeshWarning, load_mesh
from offline.rendering.meshes import Mesh
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
    "Rasterizer",
    "Renderer",
    "Scene",
    "SceneRanges",
    "compose",
    "concatenate",
    "load_mesh",
    "load_scene",
    "place_meshes",
    "sample_scenes",
    "save_scene",
    "single",
]
