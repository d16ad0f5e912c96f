"""The log: one line of JSON for each event, on the standard error output."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any

__all__ = ["REQUEST_ID", "JsonLines", "start_logging"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that the running task handles; empty outside of one."""


class JsonLines(logging.Formatter):
    """Writes time (UTC), level, logger, message and, where there is one, the request's id.

    `log.info("…", extra={"fields": {"port": 8001}})` adds keys of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"


def start_logging(level: str) -> None:
    """Send what the whole process logs, of this level or above, to the standard error output."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
