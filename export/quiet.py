"""Keeping upstream's exporters off the terminal."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["root_log_dropped", "upstream_quiet"]

LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental", "onnxscript", "onnx_ir")


@contextlib.contextmanager
def upstream_quiet() -> Iterator[None]:
    """Silence torch's and onnxscript's progress, advice and notes of deprecation.

    They speak of upstream's own code; what concerns the model comes as an exception, or is found by
    the parity check.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    nowhere = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        # Of a table that is a part of another's storage; it is saved as it is.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def root_log_dropped() -> Iterator[None]:
    """Drop what is logged by no logger's name, as ONNX Runtime's quantisation does.

    Without a handler the first such line would give the process one, on the terminal, for good.
    """
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
