"""Images of scenes that are the same bits in any batch, and with any number of threads."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from offline.one_thread import one_thread
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene
from offline.rendering.trimming import trimmed

__all__ = ["images_alone"]


@torch.no_grad()
def images_alone(renderer: Renderer, scenes: Scene) -> UInt8[Tensor, "batch 3 height width"]:
    """Render each scene by itself, without its padding, on the CPU, on one thread: 8-bit images.

    In a batch an image is the same to rounding only, and rounding to 8 bits may then go either way.
    What is not finite becomes black.
    """
    with one_thread():
        images = [
            renderer.render(trimmed(scenes[index].detach().to("cpu"))[0])
            for index in range(len(scenes))
        ]
    finite = torch.cat(images).nan_to_num(0.0)
    return finite.clamp(0, 1).mul(255).round().to(torch.uint8)
