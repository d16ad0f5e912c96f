"""Workers that are killed, crash, hang or cannot start: no request is lost or passes unchecked."""

import asyncio
import os
import platform
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guard.errors import BadBundle, CornerguardError
from guard.serving.config import ServeSettings
from guard.serving.hosted import HostedModel
from guard.serving.metrics import Metrics
from guard.serving.rejections import Unready
from guard.serving.verdict import VERDICTS, Judged
from tests.unit.serving.tiny_bundle import expected_score, image_of, write_bundle

PATIENCE = 60.0
Case = Callable[[HostedModel], Awaitable[None]]
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 traps")


def host(bundle: Path, case: Case, **instances: Any) -> None:
    """Serve a bundle in this process for as long as a case takes."""

    async def run() -> None:
        settings = ServeSettings(threads=1, instances=instances)
        model = await HostedModel.open(bundle, settings, Metrics())
        try:
            await asyncio.wait_for(case(model), PATIENCE)
        finally:
            await model.close(PATIENCE)
        assert not model.ready

    asyncio.run(run())


def names(judged: Judged) -> list[str]:
    return [VERDICTS[code] for code in judged.verdict]


async def until_ready(model: HostedModel) -> None:
    while not model.ready:
        await asyncio.sleep(0.01)


async def ask(model: HostedModel, level: float) -> None:
    judged = await model.judge(image_of(level)[np.newaxis], None, PATIENCE)
    np.testing.assert_allclose(
        judged.outputs.score, expected_score(image_of(level)[np.newaxis]), atol=1e-5
    )


def test_every_request_outlasts_killed_workers(tiny_bundle: Path) -> None:
    descriptors: list[int] = []

    async def case(model: HostedModel) -> None:
        stop = asyncio.Event()

        async def keep_asking(level: float) -> int:
            asked = 0
            while not stop.is_set():
                await ask(model, level)
                asked += 1
            return asked

        callers = [asyncio.create_task(keep_asking(0.2 + index / 16)) for index in range(8)]
        for _ in range(3):
            await until_ready(model)
            await asyncio.sleep(0.05)
            os.kill(model.workers[0], signal.SIGKILL)
            while model.ready:
                await asyncio.sleep(0)
            descriptors.append(len(list(Path("/proc/self/fd").iterdir())))
        await until_ready(model)
        stop.set()
        assert all(count > 0 for count in await asyncio.gather(*callers))

    host(tiny_bundle, case)
    assert len(set(descriptors)) == 1


@on_x86
def test_an_image_that_kills_workers_is_unverified_and_its_company_is_judged(
    tmp_path: Path,
) -> None:
    bundle = write_bundle(tmp_path / "tiny", black="crashes")

    async def case(model: HostedModel) -> None:
        images = np.stack([image_of(level) for level in (0.2, 0.0, 0.8)])
        judged, other = await asyncio.gather(
            model.judge(images, None, None), model.judge(images[:1], 0.5, None)
        )
        assert names(judged) == ["VALID", "UNVERIFIED", "CORNER_CASE"]
        assert judged.reason(1) == "the worker that ran it ended"
        assert (judged.reason(0), judged.reason(2)) == ("", "")
        assert not judged.outputs.valid[1]
        assert names(other) == ["VALID"]

    host(bundle, case)


def test_a_run_that_hangs_ends_its_worker(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny", black="hangs")

    async def case(model: HostedModel) -> None:
        judged = await model.judge(image_of(0.0)[np.newaxis], None, None)
        assert names(judged) == ["UNVERIFIED"]
        assert judged.reason(0) == "a run took more than 0.5 s"
        await ask(model, 0.2)

    host(bundle, case, run_seconds=0.5)


def test_a_run_that_fails_costs_nobody_else_a_verdict(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        held = asyncio.create_task(ask(model, 0.5))
        await asyncio.sleep(0)  # what follows waits together
        _, bad = await asyncio.gather(
            ask(model, 0.3), model.judge(image_of(0.0)[np.newaxis], None, None)
        )
        await held
        assert names(bad) == ["UNVERIFIED"]
        assert "Gather" in bad.reason(0)

    host(tiny_bundle, case)


def test_several_instances_share_the_work(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        assert len(set(model.workers)) == 2
        os.kill(model.workers[0], signal.SIGKILL)
        await ask(model, 0.2)
        assert model.ready
        await asyncio.gather(*(ask(model, 0.2 + index / 100) for index in range(40)))

    host(tiny_bundle, case, count=2)


def test_signals_to_a_group_of_processes_leave_workers_alone(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        (worker,) = model.workers
        assert os.getpgid(worker) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
        await ask(model, 0.2)
        assert model.workers == [worker]

    host(tiny_bundle, case)


def test_a_worker_starts_again_with_what_was_verified(tmp_path: Path) -> None:
    """However the folder changed meanwhile."""
    bundle = write_bundle(tmp_path / "tiny")

    async def case(model: HostedModel) -> None:
        (bundle / "model.onnx").write_bytes(b"another graph")
        (killed,) = model.workers
        os.kill(killed, signal.SIGKILL)
        await ask(model, 0.2)
        assert killed not in model.workers

    host(bundle, case)


def test_a_model_that_cannot_start_again_is_not_ready_until_it_can(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        (file,) = model._graph.files.values()
        graph = os.pread(file, os.fstat(file).st_size, 0)
        os.ftruncate(file, 4)
        os.kill(model.workers[0], signal.SIGKILL)
        with pytest.raises(Unready, match="no worker of the model lives"):
            await ask(model, 0.2)
        assert not model.ready
        with pytest.raises(Unready):
            await ask(model, 0.2)
        os.pwrite(file, graph, 0)
        await until_ready(model)
        await ask(model, 0.2)

    host(tiny_bundle, case, outage_seconds=0.1)


def test_images_of_any_size_take_turns_in_a_slot(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        # 81 MB as float32, more than a slot keeps; so many numbers add up with a rounding error.
        for side, level in ((2600, 51), (8, 102), (3, 153), (2600, 102)):
            image = np.full((1, 3, side, side), level, np.uint8)
            judged = await model.judge(image, None, PATIENCE)
            expected = expected_score(np.full((1, 3, 1, 1), level / 255))
            np.testing.assert_allclose(judged.outputs.score, expected, atol=0.02)

    host(tiny_bundle, case)


@pytest.mark.parametrize("outputs", [("logits", "label")])
def test_a_graph_that_cannot_be_run_is_a_bad_bundle(
    tmp_path: Path, outputs: tuple[str, ...]
) -> None:
    bundle = write_bundle(tmp_path / "tiny", outputs=outputs)
    with pytest.raises(BadBundle, match="no output discrepancy, p_value, score, valid"):
        host(bundle, lambda model: ask(model, 0.2))


def test_a_worker_starts_again_on_the_device_that_it_was_on(
    tiny_bundle: Path, device: torch.device
) -> None:
    async def case(model: HostedModel) -> None:
        assert model.device == device.type
        os.kill(model.workers[0], signal.SIGKILL)
        for side in (8, 64, 8):
            image = np.full((1, 3, side, side), 51, np.uint8)
            judged = await model.judge(image, None, PATIENCE)
            expected = expected_score(np.full((1, 3, 1, 1), 0.2))
            np.testing.assert_allclose(judged.outputs.score, expected, atol=1e-4)
        assert model.device == device.type

    host(tiny_bundle, case, accelerator=device.type)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt"])
def test_a_missing_gpu_is_named_and_the_cpu_takes_over_only_where_it_may(
    tiny_bundle: Path, accelerator: str
) -> None:
    with pytest.raises(CornerguardError, match=f"^{accelerator}: "):
        host(tiny_bundle, lambda model: ask(model, 0.2), accelerator=accelerator)

    async def case(model: HostedModel) -> None:
        assert model.device == "cpu"
        await ask(model, 0.2)

    host(tiny_bundle, case, accelerator=accelerator, cpu_fallback=True)


def test_workers_stand_back_behind_the_server(tiny_bundle: Path) -> None:
    async def case(model: HostedModel) -> None:
        (worker,) = model.workers
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, worker) == min(own + 7, 19)

    host(tiny_bundle, case, niceness=7)
