from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNVERIFIED: _ClassVar[Verdict]
    VALID: _ClassVar[Verdict]
    CORNER_CASE: _ClassVar[Verdict]
UNVERIFIED: Verdict
VALID: Verdict
CORNER_CASE: Verdict

class Tensor(_message.Message):
    __slots__ = ("datatype", "shape", "data")
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("model", "encoded", "tensor", "threshold", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoded: bytes
    tensor: Tensor
    threshold: float
    request_id: str
    def __init__(self, model: _Optional[str] = ..., encoded: _Optional[bytes] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ..., threshold: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("request_id", "verdict", "reason", "label", "class_name", "confidence", "score", "p_value", "threshold", "discrepancy", "model", "model_version", "fingerprint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DISCREPANCY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    verdict: Verdict
    reason: str
    label: int
    class_name: str
    confidence: float
    score: float
    p_value: float
    threshold: float
    discrepancy: _containers.RepeatedCompositeFieldContainer[LayerDiscrepancy]
    model: str
    model_version: str
    fingerprint: str
    def __init__(self, request_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., reason: _Optional[str] = ..., label: _Optional[int] = ..., class_name: _Optional[str] = ..., confidence: _Optional[float] = ..., score: _Optional[float] = ..., p_value: _Optional[float] = ..., threshold: _Optional[float] = ..., discrepancy: _Optional[_Iterable[_Union[LayerDiscrepancy, _Mapping]]] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class LayerDiscrepancy(_message.Message):
    __slots__ = ("layer", "discrepancy")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    DISCREPANCY_FIELD_NUMBER: _ClassVar[int]
    layer: str
    discrepancy: float
    def __init__(self, layer: _Optional[str] = ..., discrepancy: _Optional[float] = ...) -> None: ...
