"""A fitted detector as two files: weights in safetensors, structure in JSON. Nothing is pickled."""

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.errors import BadInput
from guard.one_class_svm import OneClassSVMs
from guard.probes import Flatten, Grid, Standardisation, Statistics, UnitLength, Whitening
from guard.settings import Settings
from guard.storage import replace_directory, write_json
from guard.validators import DistanceValidator, Energy, Validator

__all__ = ["load_detector", "save_detector"]


class FlattenShape(Settings):
    """Every value."""

    kind: Literal["flatten"] = "flatten"


class GridShape(Settings):
    """Means over a grid."""

    kind: Literal["grid"] = "grid"
    size: int = Field(ge=1)


class StatisticsShape(Settings):
    """Per-channel statistics."""

    kind: Literal["statistics"] = "statistics"
    channel_axis: int = Field(ge=1, le=3)


class ValidatorShape(Settings):
    """One single validator: what it watches and the sizes of its tensors."""

    layer: str
    discrepancy: Literal["log_ratio", "distance"]
    reduction: Annotated[FlattenShape | GridShape | StatisticsShape, Field(discriminator="kind")]
    unit_length: bool
    scaling: Literal["standardisation", "whitening"]
    features: int = Field(ge=1)
    components: int = Field(ge=1)
    vectors: int = Field(ge=1)


class EnergyShape(Settings):
    """The validator of the logits, which has no SVM."""

    layer: Literal["energy"]


class DetectorShape(Settings):
    """The structure of a detector."""

    schema_version: Literal[2] = 2
    classes: int = Field(ge=1)
    joint: Literal["standardised", "sum"]
    calibration_size: int = Field(ge=0)
    false_alarm_rate: float = Field(gt=0, le=1)
    validators: tuple[ValidatorShape | EnergyShape, ...] = Field(min_length=1)


def save_detector(folder: Path, detector: DeepValidation) -> None:
    """Write `detector.json` and `detector.safetensors` to `folder`, whole or not at all."""
    shape = DetectorShape(
        classes=len(detector.offset),
        joint="standardised" if isinstance(detector.joining, StandardisedSum) else "sum",
        calibration_size=len(detector.calibration),
        false_alarm_rate=detector.false_alarm_rate,
        validators=tuple(_shape_of(cast(Validator | Energy, one)) for one in detector.validators),
    )
    weights = {name: value.cpu().contiguous() for name, value in detector.state_dict().items()}
    with replace_directory(folder) as aside:
        save_file(weights, aside / "detector.safetensors")
        write_json(aside / "detector.json", shape.model_dump(mode="json"))


def load_detector(folder: Path) -> DeepValidation:
    """Read a detector, onto the CPU, in evaluation mode.

    Raises:
        BadInput: a file is missing or damaged, or the two do not belong together.
    """
    structure, weights = folder / "detector.json", folder / "detector.safetensors"
    try:
        shape = DetectorShape.model_validate(json.loads(structure.read_text(encoding="utf-8")))
        tensors = load_file(weights)
    except OSError as error:
        raise BadInput(f"{error.filename or weights}: cannot be read: {error.strerror}") from None
    except (ValueError, ValidationError) as error:
        raise BadInput(f"{structure}: is not the structure of a detector: {error}") from None
    except SafetensorError as error:
        raise BadInput(f"{weights}: is damaged: {error}") from None
    detector = DeepValidation([_validator(one, shape.classes) for one in shape.validators])
    if shape.joint == "standardised":
        layers = len(shape.validators)
        table = torch.zeros(layers, shape.classes)
        detector.joining = StandardisedSum(table, table.clone(), torch.zeros(layers))
    detector.calibration = torch.zeros(shape.calibration_size)
    detector.calibration_group = torch.zeros(shape.calibration_size, dtype=torch.int64)
    detector.false_alarm_rate = shape.false_alarm_rate
    try:
        detector.load_state_dict(tensors)
    except RuntimeError:
        raise BadInput(f"{weights}: its tensors are not those of {structure.name}") from None
    return detector.eval()


def _shape_of(validator: Validator | Energy) -> ValidatorShape | EnergyShape:
    if isinstance(validator, Energy):
        return EnergyShape(layer="energy")
    scaling, reduction = validator.scaling, validator.reduction
    inner = reduction.reduction if isinstance(reduction, UnitLength) else reduction
    vectors, augmented = validator.svms.vectors.shape[1:]
    return ValidatorShape(
        layer=validator.layer,
        discrepancy="distance" if isinstance(validator, DistanceValidator) else "log_ratio",
        reduction=_reduction_shape(inner),
        unit_length=isinstance(reduction, UnitLength),
        scaling="whitening" if isinstance(scaling, Whitening) else "standardisation",
        features=len(scaling.mean),
        components=augmented - 2,
        vectors=vectors,
    )


def _reduction_shape(reduction: nn.Module) -> FlattenShape | GridShape | StatisticsShape:
    if isinstance(reduction, Grid):
        return GridShape(size=reduction.size)
    if isinstance(reduction, Statistics):
        return StatisticsShape(channel_axis=reduction.channel_axis)
    return FlattenShape()


def _validator(shape: ValidatorShape | EnergyShape, classes: int) -> Validator | Energy:
    if isinstance(shape, EnergyShape):
        return Energy(torch.zeros(classes))
    mean = torch.zeros(shape.features)
    scaling = (
        Whitening(mean, torch.zeros(shape.features, shape.components))
        if shape.scaling == "whitening"
        else Standardisation(mean, torch.ones(shape.features))
    )
    svms = OneClassSVMs(classes, shape.vectors, shape.components)
    reduction = _reduction(shape.reduction)
    if shape.unit_length:
        reduction = UnitLength(reduction)
    kind = DistanceValidator if shape.discrepancy == "distance" else Validator
    return kind(shape.layer, reduction, scaling, svms)


def _reduction(shape: FlattenShape | GridShape | StatisticsShape) -> nn.Module:
    if isinstance(shape, GridShape):
        return Grid(shape.size)
    return Statistics(shape.channel_axis) if isinstance(shape, StatisticsShape) else Flatten()
