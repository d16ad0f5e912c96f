"""What the two clients of `guard.client` share: connection, retries, messages and streams.

Nothing here waits: the clients do, one with threads, the other with asyncio.
"""

__all__: list[str] = []
