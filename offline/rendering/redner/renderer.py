"""redner as a renderer: the seeds' own, by which the rasterizer's gradients are checked."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guard.errors import BadInput, CornerguardError
from offline.rendering.camera import to_world, view_rotation
from offline.rendering.redner.conversation import Conversation, Drawing, Picture
from offline.rendering.redner.environment import home, missing, python_of
from offline.rendering.renderer import check_scene, check_size
from offline.rendering.scene import Scene

__all__ = ["Redner"]

SECONDS = 600.0
_INPUTS = (
    "vertices", "colours", "position", "target", "up", "field", "light", "environment",
)  # fmt: skip


class Redner:
    """Renders Lambertian scenes without shadows with redner 0.4.28, in a process of its own.

    redner's (Li et al., "Differentiable Monte Carlo Ray Tracing through Edge Sampling", 2018): the
    camera and its projection, visibility, normals, the gradients by edge sampling, the deferred
    shading with its directional light. Ours, by the chain rule: θ to vertices in world axes and to
    the camera's place, colours of faces, the background behind; and light from all around, which
    redner's deferred shading has in one colour only.

    Images are the same bits for the same scenes, in any batch; gradients are sums in the order in
    which redner's threads come. All is float32 on the CPU, and returned as the scene's dtype and
    device. What redner has no gradient for: borders where faces pass through each other, and
    borders of colour between faces of one plane.

    Args:
        height, width: in pixels.
        samples: along each side of a pixel, one at a random place in each of its samples² parts.
        seed: of the random numbers, the same for every scene.
        folder: of the environment; see `home`.
        seconds: that a request may take before it is an error.

    Raises:
        BadInput: a size is below 1.
        CornerguardError: the environment is missing, the worker died twice over one request, took
            too long, or redner refused the scene.
    """

    def __init__(
        self,
        height: int,
        width: int,
        samples: int = 4,
        seed: int = 0,
        folder: Path | None = None,
        seconds: float = SECONDS,
    ) -> None:
        check_size(height, width, samples)
        folder = folder or home()
        lacking = missing(folder)
        if lacking:
            raise CornerguardError(f"redner: {lacking}")
        self.height, self.width = height, width
        picture = Picture(height, width, samples, seed)
        self._conversation = Conversation(python_of(folder), picture, seconds)

    @property
    def pid(self) -> int | None:
        """The number of the worker's process, while there is one."""
        return self._conversation.pid

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images in [0, 1].

        Raises:
            BadInput: a scene parameter is NaN or infinite, the background has another size, or the
                scene has what redner does not render: highlights, lamps, fog, textures, smoothing.
        """
        return self.radiance(scene).clamp(0, 1)

    def radiance(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return linear RGB, beyond 1 where the light is; raises as `render`."""
        tensors = self._tensors(scene)
        drawn = _Draw.apply(self._conversation, tensors["faces"], *(tensors[k] for k in _INPUTS))
        drawn = drawn.to(scene.points)
        background = scene.background.clamp(0, 1)
        image: Tensor = drawn[:, :3] + (1 - drawn[:, 3:]) * background
        return image

    @torch.no_grad()
    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the fraction of samples in [0, 1] that show the subject; 0: it is out of view."""
        seen = self._conversation.faces(self._tensors(scene)).long().to(scene.faces.device)
        number = torch.arange(len(scene), device=seen.device)[:, None, None]
        owner = scene.face_owners()[number, seen]
        return ((seen >= 0) & (owner == 0)).to(scene.points.dtype).mean(dim=(1, 2))

    def close(self) -> None:
        """End the worker; also done when the renderer is collected or its process ends."""
        self._conversation.close()

    def __enter__(self) -> "Redner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tensors(self, scene: Scene) -> dict[str, Tensor]:
        _check(scene, self.height, self.width)
        world, camera = to_world(scene), scene.camera
        axes = view_rotation(camera)
        place = camera[:, 5:] + camera[:, :1] * axes[:, 2]
        turn = camera[:, 3:4] / 2
        owner = scene.face_owners()
        number = torch.arange(len(scene), device=owner.device)[:, None]
        inputs = {
            "vertices": world,
            "colours": scene.face_colours * scene.colour[number, owner],
            "position": place,
            "target": place - axes[:, 2],
            "up": axes[:, 1],
            "field": torch.rad2deg(2 * torch.atan(turn.tan() * (self.width / self.height))),
            "light": scene.light,
            "environment": scene.environment,
        }
        faces = _towards(world.detach(), scene.faces, place.detach())
        return {"faces": faces.cpu(), **{k: v.cpu().float() for k, v in inputs.items()}}


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, conversation: Conversation, faces: Tensor, *inputs: Tensor) -> Tensor:
        tensors = {"faces": faces, **dict(zip(_INPUTS, inputs, strict=True))}
        detached = {name: value.detach().clone() for name, value in tensors.items()}
        image, drawing = conversation.draw(detached, keep=any(ctx.needs_input_grad))
        ctx.conversation, ctx.drawing = conversation, drawing
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        drawing: Drawing = ctx.drawing
        gradients = ctx.conversation.slopes(drawing, upstream)
        return (None, None, *(gradients[name] for name in _INPUTS))


def _towards(world: Tensor, faces: Tensor, place: Tensor) -> Tensor:
    """Turn faces, which are seen from both sides, towards the camera: redner lights one side."""
    number = torch.arange(len(world), device=world.device)[:, None, None]
    corners = world[number, faces.clamp_min(0)]
    sides = corners[:, :, 1:] - corners[:, :, :1]
    normals = torch.cross(sides[:, :, 0], sides[:, :, 1], dim=2)
    away = ((place[:, None] - corners[:, :, 0]) * normals).sum(2, keepdim=True) < 0
    return torch.where(away, faces[:, :, [0, 2, 1]], faces).int()


def _check(scene: Scene, height: int, width: int) -> None:
    check_scene(scene, height, width)
    flat: Sequence[tuple[str, Tensor]] = (
        ("highlights (gloss)", scene.gloss),
        ("lamps", scene.lamps[:, :, 3:]),
        ("fog", scene.fog[:, :1]),
        ("textures", scene.tile + 1),
        ("smooth normals", scene.smoothing + 1),
    )
    for what, amount in flat:
        _refuse(amount != 0, f"it has {what}, which redner is not used for; the rasterizer has it")


def _refuse(bad: Tensor, why: str) -> None:
    where = bad.reshape(len(bad), -1).any(dim=1).nonzero()
    if len(where):
        raise BadInput(f"scene {int(where[0, 0])}: {why}")
