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
    __slots__ = ("model", "encoded", "tensor", "threshold", "request_id", "priority")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoded: bytes
    tensor: Tensor
    threshold: float
    request_id: str
    priority: int
    def __init__(self, model: _Optional[str] = ..., encoded: _Optional[bytes] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ..., threshold: _Optional[float] = ..., request_id: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

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

class WatchRequest(_message.Message):
    __slots__ = ("settings", "frame")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    settings: WatchSettings
    frame: Frame
    def __init__(self, settings: _Optional[_Union[WatchSettings, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class WatchSettings(_message.Message):
    __slots__ = ("stream", "model", "threshold", "interval_us", "tolerance_us", "window", "raise_votes", "clear_votes", "restart")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_US_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_US_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    RAISE_VOTES_FIELD_NUMBER: _ClassVar[int]
    CLEAR_VOTES_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    stream: str
    model: str
    threshold: float
    interval_us: int
    tolerance_us: int
    window: int
    raise_votes: int
    clear_votes: int
    restart: bool
    def __init__(self, stream: _Optional[str] = ..., model: _Optional[str] = ..., threshold: _Optional[float] = ..., interval_us: _Optional[int] = ..., tolerance_us: _Optional[int] = ..., window: _Optional[int] = ..., raise_votes: _Optional[int] = ..., clear_votes: _Optional[int] = ..., restart: _Optional[bool] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("sequence", "capture_us", "encoded", "tensor")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    capture_us: int
    encoded: bytes
    tensor: Tensor
    def __init__(self, sequence: _Optional[int] = ..., capture_us: _Optional[int] = ..., encoded: _Optional[bytes] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("opened", "frame", "vote", "alarm", "counts")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    ALARM_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    frame: JudgedFrame
    vote: Vote
    alarm: Alarm
    counts: FrameCounts
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., frame: _Optional[_Union[JudgedFrame, _Mapping]] = ..., vote: _Optional[_Union[Vote, _Mapping]] = ..., alarm: _Optional[_Union[Alarm, _Mapping]] = ..., counts: _Optional[_Union[FrameCounts, _Mapping]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("settings", "resumed", "last_sequence")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    settings: WatchSettings
    resumed: bool
    last_sequence: int
    def __init__(self, settings: _Optional[_Union[WatchSettings, _Mapping]] = ..., resumed: _Optional[bool] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class JudgedFrame(_message.Message):
    __slots__ = ("sequence", "capture_us", "check")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_US_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    capture_us: int
    check: CheckResponse
    def __init__(self, sequence: _Optional[int] = ..., capture_us: _Optional[int] = ..., check: _Optional[_Union[CheckResponse, _Mapping]] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("verdict", "valid", "corner_case", "unverified")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    CORNER_CASE_FIELD_NUMBER: _ClassVar[int]
    UNVERIFIED_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    valid: int
    corner_case: int
    unverified: int
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., valid: _Optional[int] = ..., corner_case: _Optional[int] = ..., unverified: _Optional[int] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("on", "change", "raised", "cleared")
    class Change(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNCHANGED: _ClassVar[Alarm.Change]
        RAISED: _ClassVar[Alarm.Change]
        CLEARED: _ClassVar[Alarm.Change]
    UNCHANGED: Alarm.Change
    RAISED: Alarm.Change
    CLEARED: Alarm.Change
    ON_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RAISED_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    on: bool
    change: Alarm.Change
    raised: int
    cleared: int
    def __init__(self, on: _Optional[bool] = ..., change: _Optional[_Union[Alarm.Change, str]] = ..., raised: _Optional[int] = ..., cleared: _Optional[int] = ...) -> None: ...

class FrameCounts(_message.Message):
    __slots__ = ("judged", "skipped", "late", "repeated", "dropped", "waiting", "lost")
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    judged: int
    skipped: int
    late: int
    repeated: int
    dropped: int
    waiting: int
    lost: int
    def __init__(self, judged: _Optional[int] = ..., skipped: _Optional[int] = ..., late: _Optional[int] = ..., repeated: _Optional[int] = ..., dropped: _Optional[int] = ..., waiting: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...
