"""The two clients behind one face, so that every test of one is a test of both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from guard.client import AsyncGuardClient, Frame, GuardClient, StreamOptions, Watched
from guard.serving.verdict import Verdict

__all__ = ["CLIENTS", "Asynchronous", "Threaded"]


class Threaded:
    """`GuardClient`."""

    def __init__(self, target: str, *arguments: Any, **more: Any) -> None:
        self._make: Callable[[], GuardClient] = lambda: GuardClient(target, *arguments, **more)

    def check(self, *arguments: Any, **more: Any) -> Verdict:
        with self._make() as client:
            return client.check(*arguments, **more)

    def check_many(self, *arguments: Any, **more: Any) -> list[Verdict]:
        with self._make() as client:
            return list(client.check_many(*arguments, **more))

    def ready(self) -> bool:
        with self._make() as client:
            return client.ready()

    def watch(
        self,
        frames: Iterable[Frame],
        options: StreamOptions,
        seen: Callable[[Watched], None] = lambda watched: None,
        **more: Any,
    ) -> list[Watched]:
        with self._make() as client:
            answers = []
            for watched in client.watch(frames, options, **more):
                seen(watched)
                answers.append(watched)
            return answers


class Asynchronous:
    """`AsyncGuardClient`, each call in a loop of its own."""

    def __init__(self, target: str, *arguments: Any, **more: Any) -> None:
        self._make: Callable[[], AsyncGuardClient] = lambda: AsyncGuardClient(
            target, *arguments, **more
        )

    def check(self, *arguments: Any, **more: Any) -> Verdict:
        async def run() -> Verdict:
            async with self._make() as client:
                return await client.check(*arguments, **more)

        return asyncio.run(run())

    def check_many(self, *arguments: Any, **more: Any) -> list[Verdict]:
        async def run() -> list[Verdict]:
            async with self._make() as client:
                return [verdict async for verdict in client.check_many(*arguments, **more)]

        return asyncio.run(run())

    def ready(self) -> bool:
        async def run() -> bool:
            async with self._make() as client:
                return await client.ready()

        return asyncio.run(run())

    def watch(
        self,
        frames: Iterable[Frame],
        options: StreamOptions,
        seen: Callable[[Watched], None] = lambda watched: None,
        **more: Any,
    ) -> list[Watched]:
        async def live() -> AsyncIterator[Frame]:
            source = iter(frames)
            while (frame := await asyncio.to_thread(next, source, None)) is not None:
                yield frame

        async def run() -> list[Watched]:
            async with self._make() as client:
                answers = []
                async for watched in client.watch(live(), options, **more):
                    seen(watched)
                    answers.append(watched)
                return answers

        return asyncio.run(run())


CLIENTS = [Threaded, Asynchronous]
