"""The models of one server: found by name, loaded and unloaded, and loaded anew when replaced."""

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from guard.errors import BadInput, nearest
from guard.serving.config import ModelSettings, ServeSettings
from guard.serving.hosted import HostedModel
from guard.serving.metrics import Metrics
from guard.serving.model_slot import ModelSlot
from guard.serving.rejections import UnknownModel

__all__ = ["Indexed", "Repository", "models_to_serve"]


class Indexed(NamedTuple):
    """What is to be said of one model."""

    name: str
    version: str
    """Empty while nothing serves."""
    state: str
    """READY, LOADING or UNAVAILABLE, as Triton writes it."""
    reason: str
    """Why it is not ready, or why its last bundle was refused; else empty."""


class Repository:
    """The models that the server was started with; no others can be loaded."""

    def __init__(
        self, models: Mapping[str, ModelSettings], settings: ServeSettings, metrics: Metrics
    ) -> None:
        self._slots = {
            name: ModelSlot(name, model.bundle, settings.of_model(model), metrics)
            for name, model in models.items()
        }

    @property
    def ready(self) -> bool:
        """Whether every model that is loaded can be called."""
        return all(model.ready for model in self.models())

    @property
    def full(self) -> str:
        """Why no model would take a request; empty if one may, or none is loaded."""
        reasons = [model.full for model in self.models()]
        return reasons[0] if reasons and all(reasons) else ""

    def models(self) -> list[HostedModel]:
        """Return what serves."""
        return [slot.model for slot in self._slots.values() if slot.model is not None]

    def find(self, name: str, version: str = "") -> HostedModel:
        """Return a model to look at; an empty name is that of the only one, a version its own.

        It may be closed as soon as the caller awaits anything: `use` is for requests.

        Raises:
            UnknownModel: no such model or version is served.
        """
        slot = self._slot(name)
        if slot.model is None:
            raise UnknownModel(f"model {slot.name!r} is not loaded: {slot.reason}")
        if version not in ("", slot.model.version):
            raise UnknownModel(
                f"model {slot.name!r} has version {slot.model.version}, not {version!r}"
            )
        return slot.model

    @contextmanager
    def use(self, name: str, version: str = "") -> Iterator[HostedModel]:
        """Lend a model for one request: replaced or unloaded meanwhile, it stays open until then.

        Raises:
            UnknownModel: no such model or version is served.
        """
        self.find(name, version)
        with self._slot(name).use() as model:
            yield model

    async def open(self) -> None:
        """Load every model, one after another.

        Raises:
            CornerguardError: one of them must not or cannot be loaded.
        """
        for slot in self._slots.values():
            await slot.load()

    async def load(self, name: str) -> None:
        """Load a model, or load it anew if its bundle was replaced.

        Raises:
            UnknownModel: the server was not started with it.
            CornerguardError: its bundle is refused; if an old one serves, it goes on.
        """
        await self._slot(name).load()

    async def unload(self, name: str) -> None:
        """Give up a model, when the requests that were taken are answered.

        Raises:
            UnknownModel: the server was not started with it.
        """
        await self._slot(name).unload()

    def index(self) -> list[Indexed]:
        """Say of every model whether it serves."""
        return [_indexed(slot) for slot in self._slots.values()]

    async def watch(self, poll: float) -> None:
        """Load replaced bundles anew until cancelled: on SIGHUP, and every `poll` seconds if not 0.

        SIGHUP verifies every bundle that serves; a look at the folders only those whose manifest is
        another than before. What is refused is logged, counted and told by `index`.
        """
        hangup = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
        while True:
            try:
                await asyncio.wait_for(hangup.wait(), poll or None)
                hangup.clear()
                due = [slot for slot in self._slots.values() if slot.model]
            except asyncio.TimeoutError:
                due = [slot for slot in self._slots.values() if slot.model and slot.changed()]
            # The slot has logged and counted what went wrong, and the old bundle serves on.
            await asyncio.gather(*(slot.load() for slot in due), return_exceptions=True)

    async def close(self, seconds: float) -> None:
        """Answer what waits, for so many seconds at most, and give every model up."""
        await asyncio.gather(*(slot.close(seconds) for slot in self._slots.values()))

    def _slot(self, name: str) -> ModelSlot:
        slots = self._slots
        slot = slots.get(name) if name or len(slots) > 1 else next(iter(slots.values()))
        if slot is None:
            raise UnknownModel(f"no model {name!r}{nearest(name, slots)}")
        return slot


def models_to_serve(bundles: Sequence[Path], settings: ServeSettings) -> dict[str, ModelSettings]:
    """Name the bundles of the command line, and add those of the settings.

    Raises:
        BadInput: there are none, one name for several, or two of one name.
    """
    if settings.name is not None and len(bundles) != 1:
        raise BadInput(
            f"name {settings.name!r}: {len(bundles)} bundles are given; it is the name of one:"
            " name several in the settings, under models"
        )
    models = dict(settings.models)
    for folder in bundles:
        name = settings.name or folder.resolve().name
        if name in models:
            raise BadInput(f"{folder}: {name!r} is also the name of {models[name].bundle}")
        models[name] = ModelSettings(bundle=folder)
    if not models:
        raise BadInput(
            "BUNDLE: missing; give one or more, or name them in the settings, under models"
        )
    return models


def _indexed(slot: ModelSlot) -> Indexed:
    model = slot.model
    if model is not None and model.ready:
        return Indexed(slot.name, model.version, "READY", slot.reason)
    state = "LOADING" if slot.loading else "UNAVAILABLE"
    version = "" if model is None else model.version
    return Indexed(slot.name, version, state, slot.reason or "no instance of it runs")
