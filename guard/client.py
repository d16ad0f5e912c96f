"""Clients of the server: verdicts on images, votes and alarms on streams of frames.

`GuardClient` is for threads, `AsyncGuardClient` for asyncio. They do the same by the same code
(`guard.calling`), and differ in how they wait.
"""

from guard.calling.asynchronous import AsyncGuardClient
from guard.calling.connection import Credentials
from guard.calling.retries import Retries
from guard.calling.threaded import GuardClient
from guard.calling.watching import Frame, StreamOptions, Watched

__all__ = [
    "AsyncGuardClient",
    "Credentials",
    "Frame",
    "GuardClient",
    "Retries",
    "StreamOptions",
    "Watched",
]
