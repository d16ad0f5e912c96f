"""Export: model and detector as one graph, and the bundle that carries it."""

from export.bundle import Calibration, export_bundle
from export.onnx_graph import export_onnx
from export.parity import Parity, require_parity
from export.settings import ExportSettings
from export.torch_export import export_program
from export.torchscript import export_torchscript

__all__ = [
    "Calibration",
    "ExportSettings",
    "Parity",
    "export_bundle",
    "export_onnx",
    "export_program",
    "export_torchscript",
    "require_parity",
]
