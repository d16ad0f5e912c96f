"""The worker: `python worker SOCKET MEMORY`, two descriptors. Runs under Python 3.8, see `..`.

Each message on the socket is four bytes of length and a JSON object. Tensors lie in the shared
memory, where a request says. The worker ends when the socket closes.
"""

import json
import mmap
import socket
import struct
import sys
from typing import Any, Dict, List, Tuple  # noqa: UP035 (Python 3.8 has no dict[str, Any])

import drawing
import numpy as np
import torch
from torch import Tensor

__all__ = ["Worker"]

Request = Dict[str, Any]  # noqa: UP006
_FIXED = ("faces",)


class Worker:
    """Answers requests, and keeps of rendered scenes what the way back needs."""

    def __init__(self, memory: int) -> None:
        self._file = memory
        self._map = mmap.mmap(-1, 1)
        self._kept: Dict[int, Tuple[List[drawing.SceneTensors], List[Tensor]]] = {}  # noqa: UP006

    def answer(self, request: Request) -> None:
        """Do what a request asks for; what it yields is then in the memory."""
        for ticket in request["forget"]:
            self._kept.pop(ticket, None)
        if request["size"] != len(self._map):
            self._map = mmap.mmap(self._file, request["size"])
        {"render": self._render, "faces": self._faces, "backward": self._backward}[request["do"]](
            request
        )

    def _render(self, request: Request) -> None:
        scenes = self._scenes(request)
        for scene in scenes:
            for name, value in scene.items():
                value.requires_grad_(request["keep"] and name not in _FIXED)
        images = [drawing.draw(scene, *_options(request)) for scene in scenes]
        self._write(request["output"], torch.stack([image.detach() for image in images]))
        if request["keep"]:
            self._kept[request["ticket"]] = scenes, images

    def _faces(self, request: Request) -> None:
        seen = [drawing.faces_seen(each, *_options(request)) for each in self._scenes(request)]
        self._write(request["output"], torch.stack(seen))

    def _backward(self, request: Request) -> None:
        scenes, images = self._kept[request["ticket"]]
        wanted = list(request["gradients"])
        upstream = self._read(request["upstream"])
        rows: List[Tuple[Tensor, ...]] = []  # noqa: UP006
        for scene, image, slope in zip(scenes, images, upstream):  # noqa: B905 (Python 3.8)
            leaves = [scene[name] for name in wanted]
            rows.append(torch.autograd.grad(image, leaves, slope, retain_graph=True))
        for name, parts in zip(wanted, zip(*rows)):  # noqa: B905
            self._write(request["gradients"][name], torch.stack(parts))

    def _scenes(self, request: Request) -> List[drawing.SceneTensors]:  # noqa: UP006
        tensors = {name: self._read(place) for name, place in request["tensors"].items()}
        count = len(tensors["faces"])
        return [{name: value[i].clone() for name, value in tensors.items()} for i in range(count)]

    def _read(self, place: Any) -> Tensor:
        kind, shape, offset = place
        view = np.ndarray(shape, kind, self._map, offset)
        return torch.from_numpy(view.copy())

    def _write(self, place: Any, value: Tensor) -> None:
        kind, shape, offset = place
        np.ndarray(shape, kind, self._map, offset)[...] = value.numpy()


def _options(request: Request) -> Tuple[Tuple[int, int], int, int]:  # noqa: UP006
    return (request["height"], request["width"]), request["samples"], request["seed"]


def _received(connection: socket.socket, count: int) -> bytes:
    message = b""
    while len(message) < count:
        piece = connection.recv(count - len(message))
        if not piece:
            sys.exit(0)
        message += piece
    return message


def _main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    worker = Worker(int(sys.argv[2]))
    while True:
        (length,) = struct.unpack("<I", _received(connection, 4))
        request = json.loads(_received(connection, length))
        try:
            worker.answer(request)
            error = ""
        except Exception as raised:  # whatever redner refuses goes back to whom it concerns
            error = f"{type(raised).__name__}: {raised}"
        message = json.dumps({"error": error}).encode()
        try:
            connection.sendall(struct.pack("<I", len(message)) + message)
        except OSError:
            sys.exit(0)


if __name__ == "__main__":
    _main()
