"""What a model takes and gives, and how it is run, in the words of the protocol's clients."""

from guard.manifest import TensorSpec
from guard.serving import priorities
from guard.serving.hosted import HostedModel
from guard.serving.model_settings import Batching
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol import model_config_pb2 as mc

__all__ = ["configuration", "metadata"]

PLATFORM = "onnxruntime_onnx"
DATATYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
TYPES = {"float32": mc.TYPE_FP32, "int64": mc.TYPE_INT64, "bool": mc.TYPE_BOOL}


def metadata(model: HostedModel) -> pb.ModelMetadataResponse:
    """Return the names, types and shapes of the tensors, the batch as their first axis.

    Images may also be UINT8, FP16, or BYTES of shape `[batch]`, each a JPEG or PNG file. The
    threshold may also be of shape [1].
    """
    response = pb.ModelMetadataResponse(
        name=model.name, versions=[model.version], platform=PLATFORM
    )
    manifest = model.manifest
    for spec in manifest.inputs:
        shape = [-1, *_dims(spec)]
        response.inputs.add(name=spec.name, datatype=DATATYPES[spec.datatype], shape=shape)
    for spec in manifest.outputs:
        response.outputs.add(name=spec.name, datatype=DATATYPES[spec.datatype], shape=spec.shape)
    response.outputs.add(name="verdict", datatype="BYTES", shape=[-1])
    return response


def configuration(model: HostedModel) -> mc.ModelConfig:
    """Return how the model is run; Triton's clients take the batch's axis from `max_batch_size`."""
    manifest = model.manifest
    group = mc.ModelInstanceGroup
    kind = group.KIND_CPU if model.device == "cpu" else group.KIND_GPU
    facts = {
        "cornerguard.threshold": repr(model.threshold),
        "cornerguard.false_alarm_rate": repr(manifest.false_alarm_rate),
        "cornerguard.bundle": model.fingerprint,
    }
    return mc.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend="onnxruntime",
        version_policy=mc.ModelVersionPolicy(latest={"num_versions": 1}),
        max_batch_size=model.max_batch,
        input=[_input(spec) for spec in manifest.inputs],
        output=[*(_output(spec) for spec in manifest.outputs), _verdict()],
        instance_group=[group(name=f"{model.name}_0", kind=kind, count=model.instances)],
        default_model_filename=model.filename,
        dynamic_batching=_batching(model.batching),
        parameters={key: mc.ModelParameter(string_value=fact) for key, fact in facts.items()},
        model_transaction_policy=mc.ModelTransactionPolicy(decoupled=False),
    )


def _batching(batching: Batching) -> mc.ModelDynamicBatching:
    return mc.ModelDynamicBatching(
        preferred_batch_size=batching.preferred,
        max_queue_delay_microseconds=round(batching.delay * 1e6),
        priority_levels=priorities.LEVELS,
        default_priority_level=priorities.DEFAULT,
        default_queue_policy=mc.ModelQueuePolicy(
            allow_timeout_override=True, max_queue_size=batching.queue
        ),
    )


def _input(spec: TensorSpec) -> mc.ModelInput:
    is_image = len(spec.shape) == 4
    return mc.ModelInput(
        name=spec.name,
        data_type=TYPES[spec.datatype],
        format=mc.ModelInput.FORMAT_NCHW if is_image else mc.ModelInput.FORMAT_NONE,
        dims=_dims(spec),
        optional=not is_image,
    )


def _output(spec: TensorSpec) -> mc.ModelOutput:
    output = mc.ModelOutput(name=spec.name, data_type=TYPES[spec.datatype], dims=_dims(spec) or [1])
    if not _dims(spec):  # one axis at least is wanted: a number for each image is reshaped to []
        output.reshape.SetInParent()
    return output


def _verdict() -> mc.ModelOutput:
    return mc.ModelOutput(
        name="verdict", data_type=mc.TYPE_STRING, dims=[1], reshape=mc.ModelTensorReshape()
    )


def _dims(spec: TensorSpec) -> list[int]:
    """Return the shape without the batch, which a threshold lacks in the graph."""
    return list(spec.shape[1:] if spec.shape[0] == -1 else spec.shape)
