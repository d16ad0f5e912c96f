"""A line in the log for each request."""

import logging
from time import perf_counter
from typing import Any

from guard.serving.behaviours import Behaviour
from guard.serving.status_names import status_of

__all__ = ["logged"]

log = logging.getLogger(__name__)


def logged(path: str, inner: Behaviour) -> Behaviour:
    """Wrap what handles a method's calls: each gets a line when it ends, however it ends."""

    async def call(request: Any, context: Any) -> Any:
        start = perf_counter()
        failure: BaseException | None = None
        try:
            return await inner(request, context)
        except BaseException as error:
            failure = error
            raise
        finally:
            fields = {
                "method": path,
                "status": status_of(context, failure),
                "milliseconds": round((perf_counter() - start) * 1e3, 3),
                "client": context.peer(),
            }
            log.info("request", extra={"fields": fields})

    return call
