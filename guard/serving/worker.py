"""A worker: one process, one ONNX Runtime session. The server starts it; nobody else need.

    python -m guard.serving.worker ORDER

It ends with the server, whose end closes the socket, and not by the signals that a terminal or a
service manager sends to all processes of a group: those in its hands are answered first.
"""

import logging
import os
import select
import signal
import socket
import sys
import threading
import time

import numpy as np

from guard.errors import BadBundle, one_line
from guard.serving.engine import Engine
from guard.serving.logs import start_logging
from guard.serving.messages import RUN_BYTES, Answer, Run, Told
from guard.serving.order import Order
from guard.serving.providers import DeviceMissing
from guard.serving.shared import Layout, Slot

__all__ = ["main"]

log = logging.getLogger("guard.serving.worker")  # __name__ is __main__ here


def main() -> None:
    """Load the graph that the order names, say so, and judge batches until the server is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = Order.parse(sys.argv[1])
    start_logging(order.log_level)
    server = socket.socket(fileno=order.socket)
    threading.Thread(target=_end_with, args=[server], daemon=True).start()
    try:
        engine = _engine(order)
    except BadBundle as error:
        server.sendall(Answer(Told.BAD_BUNDLE, text=str(error)).pack())
        return
    except DeviceMissing as error:
        server.sendall(Answer(Told.NO_DEVICE, text=str(error)).pack())
        return
    server.sendall(Answer(Told.READY, text=engine.device).pack())
    worker = _Worker(order, engine)
    while len(message := server.recv(RUN_BYTES, socket.MSG_WAITALL)) == RUN_BYTES:
        answer = worker.answer(Run.unpack(message))
        server.sendall(answer.pack())
        if answer.told == Told.NO_DEVICE:
            return


class _Worker:
    def __init__(self, order: Order, engine: Engine) -> None:
        layout = Layout(order.graph.classes, order.graph.layers, order.max_batch)
        self._slots = [Slot(file, layout, 0) for file in order.slots]
        self._engine = engine

    def answer(self, run: Run) -> Answer:
        """Judge a batch in its slot."""
        if time.monotonic() > run.deadline:
            return Answer(Told.EXPIRED, run.slot)
        slot = self._slots[run.slot]
        self._follow(slot, run.size)
        images = slot.images((run.batch, run.channels, run.height, run.width))
        outputs = slot.outputs(run.batch)
        start = time.perf_counter()
        try:
            self._engine.run_into(outputs, images, run.threshold)
        except Exception as error:  # the server is told, and decides what becomes of the images
            lost = self._engine.lost(error)
            told = Told.NO_DEVICE if lost else Told.FAILED
            return Answer(told, run.slot, time.perf_counter() - start, one_line(error))
        return Answer(Told.DONE, run.slot, time.perf_counter() - start)

    def _follow(self, slot: Slot, size: int) -> None:
        """Map the slot as it is now; a GPU reads and writes it where it lies."""
        driver = self._engine.driver
        if driver and slot.size not in (0, size):
            driver.unpin(slot.address)
        if slot.follow(size) and driver:
            driver.pin(slot.address, size)


def _engine(order: Order) -> Engine:
    try:
        return Engine(order.graph, order.threads, order.accelerator)
    except DeviceMissing as error:
        if not order.cpu_fallback:
            raise
        log.warning("%s; running on the CPU, as cpu_fallback allows", error)
        return Engine(order.graph, order.threads, "cpu")


def _end_with(server: socket.socket) -> None:
    """End the process once the server is gone, even in the middle of a run that hangs."""
    waiting = select.poll()
    waiting.register(server, 0)  # a hang-up is reported unasked
    waiting.poll()
    os._exit(0)


if __name__ == "__main__":
    np.seterr(all="ignore")  # what is not finite becomes UNVERIFIED, not a warning
    try:
        main()
    except Exception:  # else it would be told on many lines that are no JSON
        log.exception("a worker fails")
        sys.exit(1)
