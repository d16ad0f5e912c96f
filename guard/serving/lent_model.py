"""A model that requests have in hand: it is closed when the last of them has ended."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from guard.serving.hosted import HostedModel

__all__ = ["LentModel"]


class LentModel:
    """Lends a model to requests, and counts how they end.

    Attributes:
        model: what is lent.
    """

    def __init__(self, model: HostedModel) -> None:
        self.model = model
        self._uses, self._retired = 0, False
        self._idle = asyncio.Event()

    @contextmanager
    def use(self) -> Iterator[HostedModel]:
        """Have the model in hand for one request."""
        start, failed = time.perf_counter(), True
        self._uses += 1
        try:
            yield self.model
            failed = False
        finally:
            self._uses -= 1
            self.model.statistics.ended(time.perf_counter() - start, failed)
            if self._retired and not self._uses:
                self._idle.set()

    async def returned(self) -> None:
        """Return when no request has it in hand; it must not be lent any more."""
        self._retired = True
        if self._uses:
            await self._idle.wait()
