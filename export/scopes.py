"""Which module of a guarded model a node of its ONNX graph came from."""

import ast

import onnx

__all__ = ["SCOPES", "scopes_of"]

SCOPES = "pkg.torch.onnx.name_scopes"
"""The metadata in which torch's exporter keeps the names of the modules that a node was in."""


def scopes_of(node: onnx.NodeProto) -> list[str]:
    """Return the names of its modules, outermost first: `detector`, `detector.validators.0`, …"""
    kept = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    parts = ("model", "detector")
    return [name for name in ast.literal_eval(kept) if name.partition(".")[0] in parts]
