"""What a bundle holds and what the guard in it costs, told from its manifest and its graph."""

import math
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.shape_inference import InferenceError
from pydantic import Field

from export.operations import operations
from export.overhead import Overhead, measure_overhead, onnx_run
from export.stacking import SHARED
from guard.bundle import Bundle, load_bundle
from guard.bundle_files import SIGNATURE_NAME
from guard.errors import BadBundle
from guard.manifest import Agreement, Variant
from guard.probes import ENERGY
from guard.settings import Settings

__all__ = ["Inspection", "Layer", "Share", "inspect_bundle"]

PAIRS = 30
TABLE = re.compile(r"detector\.stacks\.([\d_]+)\.(?:(matrix)_(\d+)|(.+))")


class Layer(Settings):
    """A single validator.

    Attributes:
        name: of the layer that it watches.
        kind: `one-class SVMs`, or `energy`.
        tables: what it keeps in the graph: the shape of each table.
        size: their bytes.
    """

    name: str
    kind: str
    tables: dict[str, tuple[int, ...]]
    size: int


class Share(Settings):
    """A quantity of the model alone, and what the detector adds to it."""

    model: int = Field(ge=0)
    detector: int = Field(ge=0)

    @property
    def ratio(self) -> float:
        """The guarded graph's over the model's."""
        return (self.model + self.detector) / self.model if self.model else math.inf


class Inspection(Settings):
    """What a bundle holds and costs.

    Attributes:
        files: the bytes of each file of the bundle.
        signed: whether there is a signature; it is verified only with a key.
        image: channels, height and width for which operations are counted.
        table_bytes: weights and other tables in `model.onnx`.
        operations: floating-point operations of one image, as `export.operations` counts them.
        operations_ratio: the guarded graph's over the model's.
        measured: latency, if it was asked for.
    """

    bundle: str
    schema_version: int
    files: dict[str, int]
    signed: bool
    class_names: tuple[str, ...]
    threshold: float
    false_alarm_rate: float
    calibration_size: int
    data_fingerprint: str
    layers: tuple[Layer, ...]
    image: tuple[int, int, int]
    table_bytes: Share
    operations: Share
    operations_ratio: float
    parity: dict[str, dict[str, Agreement]]
    variants: dict[str, Variant]
    package_versions: dict[str, str]
    measured: Overhead | None


def inspect_bundle(
    folder: Path, public_key: Path | None = None, size: int = 224, *, measure: bool = False
) -> Inspection:
    """Verify a bundle and look into its graph.

    The model alone is the graph without what its logits do not need.

    Args:
        folder: the bundle.
        public_key: a PEM file, the key that must have signed it; None for any or none.
        size: height and width that are counted for, where the model takes any.
        measure: also time the graph beside the model alone, one image, on the CPU.

    Raises:
        BadInput: the key cannot be used.
        BadBundle: the bundle must not be loaded.
    """
    opened = load_bundle(folder, public_key)
    manifest = opened.manifest
    channels, height, width = manifest.input_shape
    image = channels, height or size, width or size
    try:
        # The weights of a graph beyond 2 GB lie beside it; only their shapes are wanted.
        whole = onnx.load(str(opened.onnx_path()), load_external_data=False)
        bare = onnx.utils.Extractor(whole).extract_model(["images"], ["logits"])
        counts = [operations(graph, 1, image[1:]).total() for graph in (bare, whole)]
    except (DecodeError, InferenceError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadBundle(f"{opened.onnx_path()}: is not a guarded graph: {reason}") from None
    weights = [sum(map(_size, graph.graph.initializer)) for graph in (bare, whole)]
    counted = Share(model=counts[0], detector=counts[1] - counts[0])
    return Inspection(
        bundle=str(folder),
        schema_version=manifest.schema_version,
        files={name: (folder / name).stat().st_size for name in manifest.files},
        signed=(folder / SIGNATURE_NAME).exists(),
        class_names=manifest.class_names,
        threshold=manifest.threshold,
        false_alarm_rate=manifest.false_alarm_rate,
        calibration_size=manifest.calibration_size,
        data_fingerprint=manifest.data_fingerprint,
        layers=_layers(whole, manifest.layer_names),
        image=image,
        table_bytes=Share(model=weights[0], detector=weights[1] - weights[0]),
        operations=counted,
        operations_ratio=counted.ratio,
        parity=manifest.parity,
        variants=manifest.variants,
        package_versions=manifest.package_versions,
        measured=_measured(opened, image) if measure else None,
    )


def _layers(graph: onnx.ModelProto, names: tuple[str, ...]) -> tuple[Layer, ...]:
    """Read the layers' tables by their names (see `export.stacking`); of shared ones its part."""
    kept: list[dict[str, tuple[int, ...]]] = [{} for _ in names]
    sizes = [0] * len(names)
    for table in graph.graph.initializer:
        match = TABLE.fullmatch(table.name)
        if match is None:
            continue
        members, shape = [int(at) for at in match[1].split("_")], tuple(table.dims)
        if match[2]:
            members = [members[int(match[3])]]
        elif match[4] in SHARED:
            shape = (*shape[:1], *shape[2:])
        for at in members:
            kept[at][match[2] or match[4]] = shape
            sizes[at] += _size(table) // len(members)
    return tuple(
        Layer(
            name=name,
            kind="energy" if name == ENERGY else "one-class SVMs",
            tables=tables,
            size=size,
        )
        for name, tables, size in zip(names, kept, sizes, strict=True)
    )


def _size(table: onnx.TensorProto) -> int:
    itemsize: int = onnx.helper.tensor_dtype_to_np_dtype(table.data_type).itemsize
    return math.prod(table.dims) * itemsize


def _measured(bundle: Bundle, image: tuple[int, int, int]) -> Overhead:
    """Time one image; latency depends on sizes, not on values."""
    images = np.random.default_rng(0).random((1, *image), np.float32)
    with TemporaryDirectory() as aside:
        bare = Path(aside) / "bare.onnx"
        onnx.utils.extract_model(str(bundle.onnx_path()), str(bare), ["images"], ["logits"])
        runs = [onnx_run(path, images) for path in (bare, bundle.onnx_path())]
        return measure_overhead(runs[0], runs[1], PAIRS)
