"""Differentiable rendering: scenes, the renderers that make images of them, meshes to put in."""
