"""Export: model and detector as one graph, and the bundle that carries it."""

from export.aot_inductor import export_aot_inductor
from export.bundle import Calibration, export_bundle
from export.capture import Captured, capture
from export.kserve import KServeSettings, write_kserve_manifest
from export.onnx_graph import export_onnx
from export.parity import Mismatch, require_parity
from export.settings import ExportSettings
from export.torch_export import export_program
from export.torchscript import export_torchscript
from export.triton import TritonSettings, write_triton_repository

__all__ = [
    "Calibration",
    "Captured",
    "ExportSettings",
    "KServeSettings",
    "Mismatch",
    "TritonSettings",
    "capture",
    "export_aot_inductor",
    "export_bundle",
    "export_onnx",
    "export_program",
    "export_torchscript",
    "require_parity",
    "write_kserve_manifest",
    "write_triton_repository",
]
