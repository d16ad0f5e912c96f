"""Every declared message, field, enum and call is that of Triton's own clients.

Two sets of generated code of one proto package cannot live in one process, so tritonclient's is
read in another.
"""

import json
import subprocess
import sys

from guard.serving.protocol import extensions_pb2, inference_pb2, model_config_pb2

DESCRIBE = """
import json, sys
def field(f):
    kind = f.message_type or f.enum_type
    oneof = f.containing_oneof
    return [f.number, f.type, kind.full_name if kind else "", f.is_repeated, oneof and oneof.name]
def message(m, found):
    found[m.full_name] = {f.name: field(f) for f in m.fields}
    for e in m.enum_types: enum(e, found)
    for n in m.nested_types: message(n, found)
def enum(e, found):
    found[e.full_name] = {v.name: v.number for v in e.values}
def describe(*files):
    found = {}
    for file in files:
        for m in file.message_types_by_name.values(): message(m, found)
        for e in file.enum_types_by_name.values(): enum(e, found)
        for s in file.services_by_name.values():
            found[s.full_name] = {
                c.name: [c.input_type.full_name, c.output_type.full_name,
                         c.client_streaming, c.server_streaming] for c in s.methods}
    return json.loads(json.dumps(found))
"""
THEIRS = """
from tritonclient.grpc import model_config_pb2, service_pb2
json.dump(describe(model_config_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR), sys.stdout)
"""


def test_what_is_declared_is_tritons() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE + THEIRS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    theirs = json.loads(done.stdout)
    space: dict[str, object] = {}
    exec(DESCRIBE, space)  # one text describes both sides
    describe = space["describe"]
    assert callable(describe)
    modules = (model_config_pb2, extensions_pb2, inference_pb2)
    ours = describe(*(module.DESCRIPTOR for module in modules))
    assert len(ours) > 70
    for name, members in ours.items():
        assert members.items() <= theirs[name].items(), name
    service = "inference.GRPCInferenceService"
    assert ours[service] == theirs[service]
