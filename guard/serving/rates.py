"""How often each client may ask: token buckets, in bounded memory."""

from collections.abc import Hashable

__all__ = ["Rates"]


class Rates:
    """A token bucket for each client, filled at `rate` a second, holding `burst` at most.

    A bucket is one number, the time at which it will be full again if nothing more is taken (the
    generic cell rate algorithm). A full one need not be kept, which bounds the memory.

    Args:
        rate: requests a second.
        burst: requests that a client which was silent may send at once.
        clients: how many buckets that are not full are kept. Past it those closest to full are
            forgotten, which lets their clients ask a little too early.
    """

    def __init__(self, rate: float, burst: int, clients: int = 10_000) -> None:
        self._interval, self._burst, self._clients = 1 / rate, burst, clients
        self._full_at: dict[Hashable, float] = {}

    def take(self, client: Hashable, now: float) -> float:
        """Take one from the bucket and return 0, or say how many seconds to wait for one.

        Args:
            client: whose bucket.
            now: seconds of a clock that never goes back.
        """
        full_at = max(self._full_at.get(client, now), now)
        wait = full_at + self._interval - now - self._burst * self._interval
        if wait > self._interval * 1e-9:  # less is the rounding of the sums above
            return wait
        self._full_at[client] = full_at + self._interval
        if len(self._full_at) > self._clients:
            self._forget(now)
        return 0.0

    @property
    def kept(self) -> int:
        """How many buckets are kept."""
        return len(self._full_at)

    def _forget(self, now: float) -> None:
        left = [(full_at, client) for client, full_at in self._full_at.items() if full_at > now]
        # Not one by one: sorting once for half of them costs each request next to nothing.
        left.sort(key=lambda bucket: bucket[0], reverse=True)
        self._full_at = {client: full_at for full_at, client in left[: self._clients // 2]}
