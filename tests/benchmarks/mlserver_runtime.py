"""A runtime of MLServer for a guarded graph; MLServer alone imports it."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

__all__ = ["GuardedGraph"]


class GuardedGraph(MLModel):
    """Answers with every output of the graph at `parameters.uri`; `extra.threads` run it."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.settings.parameters.extra["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        values = self.session.run(self.names, {"images": images})
        outputs = [
            NumpyCodec.encode_output(name, value)
            for name, value in zip(self.names, values, strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
