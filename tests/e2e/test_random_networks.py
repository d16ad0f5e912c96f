"""Whatever small network and probes one draws: the exported files agree, or the message names why.

Deterministic: the same 200 networks in each run.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from export import capture, export_onnx, export_program, export_torchscript, require_parity
from export.runners import onnx_runner, program_runner, torchscript_runner
from guard.errors import BadInput
from tests.e2e.random_guards import Random, random_guards
from tests.e2e.random_networks import UNSUPPORTED

NETWORKS = 200


# beartype, which checks every signature here, draws which item of a sequence it looks at.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_random_networks_export_and_agree_or_are_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("random")
    met: Counter[str] = Counter()

    @settings(
        max_examples=NETWORKS,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # a failing one is small already; to shrink it takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(random_guards())
    def check(drawn: Random) -> None:
        met[check_one(drawn, folder, sum(met.values()))] += 1

    check()
    assert met.total() == NETWORKS
    assert met["agrees"] > 0.8 * NETWORKS
    assert met["refused"] > 0


def check_one(drawn: Random, folder: Path, at: int) -> str:
    guarded, images, wrong = drawn
    path, threshold = folder / "model.onnx", guarded.detector.threshold
    refusal = None
    try:
        captured = capture(guarded, images[:2])
        export_onnx(captured, path, {})
    except BadInput as error:
        refusal = str(error)
    if refusal is not None:
        said = re.fullmatch(r"model: '([\w.]+)' \((\w+)\): [^\n]+; [^\n]+", refusal)
        assert said, refusal
        missized = said[2] == "MaxPool2d" and "ceil_mode" in refusal
        assert said[1] == wrong or said[2] in UNSUPPORTED or missized, refusal
        return "refused"
    assert wrong is None
    require_parity(guarded, onnx_runner(path), images, "model.onnx")
    # The others follow the same capture: one network in eight each.
    if at % 8 == 0:
        export_torchscript(captured, folder / "model.ts")
        runner = torchscript_runner(folder / "model.ts", threshold)
        require_parity(guarded, runner, images, "model.ts")
    if at % 8 == 4:
        export_program(captured, folder / "model.pt2")
        runner = program_runner(folder / "model.pt2", threshold)
        require_parity(guarded, runner, images, "model.pt2")
    return "agrees"
