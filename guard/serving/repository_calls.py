"""RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload, as Triton means them."""

from collections.abc import Iterable

from guard.errors import BadInput, CornerguardError
from guard.serving.behaviours import Context
from guard.serving.metrics import Metrics
from guard.serving.protocol import extensions_pb2 as ext
from guard.serving.rejections import NotAllowed, NotLoaded, Rejection, answer
from guard.serving.repository import Repository

__all__ = ["RepositoryCalls"]


class RepositoryCalls:
    """Part of `InferenceService`: which models there are, loaded and unloaded by name alone.

    Args:
        repository: the models.
        metrics: where failures are counted.
        control: whether clients may load and unload.
    """

    def __init__(self, repository: Repository, metrics: Metrics, control: bool) -> None:
        self._repository, self._metrics, self._control = repository, metrics, control

    async def RepositoryIndex(
        self, request: ext.RepositoryIndexRequest, context: Context
    ) -> ext.RepositoryIndexResponse:
        """List the models that can be loaded, and those that are."""
        return await answer(self._index, request, context, self._metrics)

    async def RepositoryModelLoad(
        self, request: ext.RepositoryModelLoadRequest, context: Context
    ) -> ext.RepositoryModelLoadResponse:
        """Load a model, or load it anew if its bundle was replaced."""
        return await answer(self._load, request, context, self._metrics)

    async def RepositoryModelUnload(
        self, request: ext.RepositoryModelUnloadRequest, context: Context
    ) -> ext.RepositoryModelUnloadResponse:
        """Unload a model, when the requests that were taken are answered."""
        return await answer(self._unload, request, context, self._metrics)

    async def _index(
        self, request: ext.RepositoryIndexRequest, seconds: float | None
    ) -> ext.RepositoryIndexResponse:
        _check_repository(request.repository_name)
        entry = ext.RepositoryIndexResponse.ModelIndex
        return ext.RepositoryIndexResponse(
            models=[
                entry(**model._asdict())
                for model in self._repository.index()
                if model.state == "READY" or not request.ready
            ]
        )

    async def _load(
        self, request: ext.RepositoryModelLoadRequest, seconds: float | None
    ) -> ext.RepositoryModelLoadResponse:
        self._check(request.repository_name, request.model_name, request.parameters, ())
        try:
            await self._repository.load(request.model_name)
        except Rejection:
            raise
        except CornerguardError as error:  # it is the bundle that is wrong, not the request
            raise NotLoaded(str(error)) from None
        return ext.RepositoryModelLoadResponse()

    async def _unload(
        self, request: ext.RepositoryModelUnloadRequest, seconds: float | None
    ) -> ext.RepositoryModelUnloadResponse:
        # No model has dependents: whether they are to be unloaded too makes no difference.
        taken = ("unload_dependents",)
        self._check(request.repository_name, request.model_name, request.parameters, taken)
        await self._repository.unload(request.model_name)
        return ext.RepositoryModelUnloadResponse()

    def _check(
        self, repository: str, model: str, parameters: Iterable[str], taken: tuple[str, ...]
    ) -> None:
        if not self._control:
            raise NotAllowed("models are not loaded or unloaded by calls here: reload.api is off")
        _check_repository(repository)
        if not model:
            raise BadInput("model_name: missing")
        for name in sorted(parameters):
            if name not in taken:
                raise BadInput(
                    f"parameter {name!r}: not taken: settings and files of a model do not come"
                    " from callers"
                )


def _check_repository(name: str) -> None:
    if name:
        raise BadInput(f"repository_name: {name!r}; there is only one: leave it empty")
