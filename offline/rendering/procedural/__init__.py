"""Objects of the seeds' twelve classes, built from random proportions, parts and colours."""

from offline.rendering.procedural.classes import CLASSES, procedural_mesh

__all__ = ["CLASSES", "procedural_mesh"]
