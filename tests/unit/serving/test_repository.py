"""Models by name: replaced under their requests, unloaded, refused, and named at the start."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from guard.errors import BadBundle, BadInput
from guard.serving.config import ModelSettings, ServeSettings
from guard.serving.hosted import HostedModel
from guard.serving.metrics import Metrics
from guard.serving.model_settings import Batching
from guard.serving.rejections import Stopping, UnknownModel
from guard.serving.repository import Repository, models_to_serve
from guard.storage import replace_directory
from tests.unit.serving.tiny_bundle import image_of, write_bundle

IMAGES = image_of(0.5)[np.newaxis]
SETTINGS = ServeSettings()


def replace(bundle: Path, threshold: float) -> None:
    with replace_directory(bundle) as aside:
        aside.rmdir()
        write_bundle(aside, threshold=threshold)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def with_repository(
    bundle: Path, test: Callable[[Repository, Metrics], Awaitable[None]], **more: Path
) -> None:
    async def run() -> None:
        metrics = Metrics()
        folders = {"tiny": bundle, **more}
        models = {name: ModelSettings(bundle=folder) for name, folder in folders.items()}
        repository = Repository(models, SETTINGS, metrics)
        await repository.open()
        try:
            await test(repository, metrics)
        finally:
            await repository.close(5.0)

    asyncio.run(run())


async def threshold_of(model: HostedModel) -> float:
    return (await model.judge(IMAGES, None, None)).threshold


def infos(metrics: Metrics) -> list[str]:
    lines = metrics.exposition().decode().splitlines()
    return [line for line in lines if line.startswith("cornerguard_bundle_info{")]


def test_a_request_ends_on_the_model_that_it_began_on(bundle: Path) -> None:
    async def test(repository: Repository, metrics: Metrics) -> None:
        with repository.use("tiny") as old:
            replace(bundle, 0.5)
            await repository.load("tiny")
            with repository.use("tiny") as new:
                assert new is not old
                assert await threshold_of(new) == 0.5
            await asyncio.sleep(0.05)
            assert await threshold_of(old) == 0.0
        for _ in range(100):
            if len(infos(metrics)) == 1:
                break
            await asyncio.sleep(0.02)
        assert [new.fingerprint in line for line in infos(metrics)] == [True]
        with pytest.raises(Stopping):
            await threshold_of(old)
        assert old.statistics.message("", "").inference_stats.success.count == 1

    with_repository(bundle, test)


def test_the_same_bundle_is_verified_and_left_alone(bundle: Path) -> None:
    async def test(repository: Repository, metrics: Metrics) -> None:
        model = repository.find("tiny")
        await repository.load("tiny")
        assert repository.find("tiny") is model
        (bundle / "extra").write_text("not of the bundle")
        with pytest.raises(BadBundle, match="extra: is not listed"):
            await repository.load("tiny")
        assert repository.find("tiny") is model
        (entry,) = repository.index()
        assert (entry.state, "extra: is not listed" in entry.reason) == ("READY", True)

    with_repository(bundle, test)


def test_unloading_waits_for_what_was_begun(bundle: Path) -> None:
    async def test(repository: Repository, metrics: Metrics) -> None:
        with repository.use("tiny") as model:
            unloading = asyncio.create_task(repository.unload("tiny"))
            await asyncio.sleep(0.05)
            assert not unloading.done()
            with pytest.raises(UnknownModel, match="'tiny' is not loaded: unloaded"):
                repository.find("tiny")
            assert await threshold_of(model) == 0.0
        await unloading
        assert infos(metrics) == []
        # A server without models is ready to be told to load some, and refuses for other reasons.
        assert repository.ready
        assert not repository.full
        await repository.unload("tiny")  # again: nothing to do
        await repository.load("tiny")
        assert await threshold_of(repository.find("tiny")) == 0.0

    with_repository(bundle, test)


def test_a_load_goes_on_without_the_caller_who_asked_for_it(bundle: Path) -> None:
    async def test(repository: Repository, metrics: Metrics) -> None:
        replace(bundle, 0.5)
        loading = asyncio.create_task(repository.load("tiny"))
        await asyncio.sleep(0)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        await repository.load("tiny")  # in turn: after the first
        assert await threshold_of(repository.find("tiny")) == 0.5
        assert metrics.reloads.labels("tiny", "loaded")._value.get() == 2
        assert metrics.reloads.labels("tiny", "unchanged")._value.get() == 1

    with_repository(bundle, test)


def test_files_of_two_bundles_are_never_served_together(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is replaced while it is opened is opened anew."""
    opened: list[HostedModel] = []
    really = HostedModel.open

    async def open_and_replace(folder: Path, *others: object) -> HostedModel:
        model = await really(folder, *others)  # type: ignore[arg-type]
        if not opened:
            replace(folder, 0.75)
        opened.append(model)
        return model

    async def test(repository: Repository, metrics: Metrics) -> None:
        monkeypatch.setattr(HostedModel, "open", open_and_replace)
        replace(bundle, 0.5)
        await repository.load("tiny")
        assert [model.manifest.threshold for model in opened] == [0.5, 0.75]
        assert await threshold_of(repository.find("tiny")) == 0.75
        with pytest.raises(Stopping):
            await threshold_of(opened[0])

    with_repository(bundle, test)


def test_names_and_versions(bundle: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", threshold=0.5)

    async def test(repository: Repository, metrics: Metrics) -> None:
        model = repository.find("tiny")
        assert repository.find("tiny", model.version) is model
        for name, version, message in (
            ("tinny", "", "no model 'tinny'; did you mean 'tiny'"),
            ("tiny", "9", f"has version {model.version}, not '9'"),
            ("", "", "no model ''; there are: tiny, other"),
        ):
            with pytest.raises(UnknownModel, match=message):
                repository.find(name, version)
            with pytest.raises(UnknownModel, match=message), repository.use(name, version):
                pass

    with_repository(bundle, test, other=other)


def test_failed_requests_are_counted(bundle: Path) -> None:
    async def test(repository: Repository, metrics: Metrics) -> None:
        with pytest.raises(BadInput), repository.use("tiny") as model:
            raise BadInput("wrong")
        seen = model.statistics.message("tiny", model.version).inference_stats
        assert (seen.success.count, seen.fail.count) == (0, 1)

    with_repository(bundle, test)


def test_what_is_served() -> None:
    settings = ServeSettings(models={"far": ModelSettings(bundle=Path("far"), threads=3)})
    models = models_to_serve([Path("a/near"), Path("b/next")], settings)
    assert {name: model.bundle for name, model in models.items()} == {
        "far": Path("far"),
        "near": Path("a/near"),
        "next": Path("b/next"),
    }
    own = settings.of_model(models["far"])
    assert (own.threads, own.precision, own.batching) == (3, "float32", Batching())
    named = models_to_serve([Path("a/near")], ServeSettings(name="renamed"))
    assert list(named) == ["renamed"]


@pytest.mark.parametrize(
    ("bundles", "settings", "message"),
    [
        ([], ServeSettings(), "BUNDLE: missing"),
        (["a/x", "b/x"], ServeSettings(), "b/x: 'x' is also the name of a/x"),
        (["a", "b"], ServeSettings(name="n"), "name 'n': 2 bundles are given"),
        ([], ServeSettings(name="n"), "name 'n': 0 bundles are given"),
    ],
)
def test_what_cannot_be_served(bundles: list[str], settings: ServeSettings, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        models_to_serve([Path(bundle) for bundle in bundles], settings)


def test_what_can_never_wait_is_bad_input_and_not_overload(bundle: Path) -> None:
    settings = ServeSettings(batching=Batching(queue=2, queue_bytes=1 << 20))

    async def run() -> None:
        model = await HostedModel.open(bundle, settings, Metrics())
        try:
            with pytest.raises(BadInput, match="1080000 bytes of images; at most 1048576"):
                await model.judge(np.zeros((1, 3, 600, 600), np.uint8), None, None)
            with pytest.raises(BadInput, match="3 images; at most 2 are allowed at once"):
                await model.judge(np.repeat(IMAGES, 3, axis=0), None, None)
        finally:
            await model.close(5.0)

    asyncio.run(run())
