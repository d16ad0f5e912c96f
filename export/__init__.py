"""Export: model and detector as one graph, and the bundle that carries it."""

from export.aot_inductor import export_aot_inductor
from export.bundle import export_bundle
from export.onnx_graph import export_onnx
from export.parity import Mismatch, require_parity
from export.torch_export import export_program
from export.torchscript import export_torchscript

__all__ = [
    "Mismatch",
    "export_aot_inductor",
    "export_bundle",
    "export_onnx",
    "export_program",
    "export_torchscript",
    "require_parity",
]
