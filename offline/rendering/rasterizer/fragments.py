"""What the pixels show: the faces in sight, and where on them the rays of the pixels arrive.

What is the same all over a face is worked out once for each face in sight and then handed to its
fragments by one gather (`embedding`, whose backward adds in a fixed order).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.camera import pixel_rays
from offline.rendering.gathering import rows_of
from offline.rendering.scene import Scene

__all__ = ["FacesInSight", "Fragments", "fragments"]


class FacesInSight(NamedTuple):
    """The faces that at least one pixel, or sample of a pixel, shows, each once."""

    scene: Int64[Tensor, " seen"]
    number: Int64[Tensor, " seen"]
    """Within its scene."""
    object: Int64[Tensor, " seen"]
    """Within its scene."""
    corners: Float[Tensor, "seen 3 3"]
    """In camera axes."""
    normals: Float[Tensor, "seen 3"]
    """In camera axes, to the side that sees the corners run anticlockwise; twice the area long."""
    offsets: Float[Tensor, "seen 1"]
    """normal · corner; below 0 where the camera is on the side that the normal points to."""


@dataclass(frozen=True)
class Fragments:
    """The pixels, or samples of pixels, that show an object. Gradients flow through the floats."""

    number: Int64[Tensor, " fragment"]
    """In the flat batch of images; ascending."""
    scene: Int64[Tensor, " fragment"]
    slot: Int64[Tensor, " fragment"]
    """The row of `faces` that is shown."""
    faces: FacesInSight
    rays: Float[Tensor, "fragment 3"]
    """From the camera through the centre, in camera axes, at depth 1."""
    planes: Float[Tensor, "fragment 3"]
    """normal / offset of the face: its product with a ray is 1 / depth of the face along it."""
    positions: Float[Tensor, "batch vertex 3"]
    """All vertices, seen or not, in camera axes."""

    @property
    def face(self) -> Int64[Tensor, " fragment"]:
        """Return the number of the face within its scene."""
        return self.faces.number[self.slot]

    @property
    def object(self) -> Int64[Tensor, " fragment"]:
        """Return the number of the object within its scene."""
        return self.faces.object[self.slot]

    @property
    def normals(self) -> Float[Tensor, "fragment 3"]:
        """Return the normals of the faces, as in `FacesInSight`."""
        return rows_of(self.slot, self.faces.normals)

    def places(self) -> Float[Tensor, "fragment 3"]:
        """Return where the rays arrive, in camera axes."""
        inverse = (self.planes * self.rays).sum(1, keepdim=True)
        # A face seen edge on has no such place; 1 keeps its gradient, which is 0, finite.
        return self.rays / torch.where(inverse == 0, 1, inverse)

    def weights(self) -> Float[Tensor, "fragment 3"]:
        """Return the barycentric coordinates of `places`, corrected for perspective."""
        first, second, third = self.faces.corners.unbind(1)
        normals = self.faces.normals
        whole = normals.square().sum(1, keepdim=True)
        # With these slopes the weights of the last two corners grow from 0 at the first corner.
        slopes = (
            torch.stack(
                (torch.cross(third - first, normals, 1), torch.cross(normals, second - first, 1)), 1
            )
            / torch.where(whole == 0, 1, whole)[:, None]
        )
        table = torch.cat((first[:, None], slopes), dim=1).flatten(1)
        origin, slopes = rows_of(self.slot, table).split([3, 6], dim=1)
        along = (self.places() - origin)[:, None]
        later = (slopes.unflatten(1, (2, 3)) * along).sum(2)
        return torch.cat((1 - later.sum(1, keepdim=True), later), dim=1)


def fragments(
    scene: Scene,
    positions: Float[Tensor, "batch vertex 3"],
    visible: Int64[Tensor, "batch height width"],
) -> Fragments:
    """Return what the pixels of `visible`, as from `visible_faces`, show of objects.

    `positions` are the vertices in camera axes.
    """
    height, width = visible.shape[1:]
    shown = visible.reshape(-1)
    number = (shown >= 0).nonzero()[:, 0]
    scene_of = number // (height * width)
    face = shown.index_select(0, number)
    faces, slot = _in_sight(scene, positions, scene_of * scene.faces.shape[1] + face)
    # A face seen edge on has no plane on the screen; 1 keeps its gradient, which is 0, finite.
    planes = faces.normals / torch.where(faces.offsets == 0, 1, faces.offsets)
    fields = rows_of(faces.scene, scene.camera[:, 3:4])
    planes, fields = rows_of(slot, torch.cat((planes, fields), dim=1)).split([3, 1], dim=1)
    line = number // width
    y, x = line - scene_of * height, number - line * width
    kind = positions.dtype
    return Fragments(
        number=number,
        scene=scene_of,
        slot=slot,
        faces=faces,
        rays=pixel_rays(fields[:, 0], y.to(kind), x.to(kind), height, width),
        planes=planes,
        positions=positions,
    )


def _in_sight(scene: Scene, positions: Tensor, numbers: Tensor) -> tuple[FacesInSight, Tensor]:
    """Return the faces of the numbers in the flat batch, and the row of each number among them."""
    count = scene.faces.shape[1]
    seen = torch.zeros(len(scene) * count, dtype=torch.bool, device=numbers.device)
    seen[numbers] = True
    rows = seen.cumsum(0) - 1
    chosen = seen.nonzero()[:, 0]
    scene_of = chosen // count
    vertices = scene.faces.reshape(-1, 3)[chosen] + scene_of[:, None] * positions.shape[1]
    corners = rows_of(vertices, positions.reshape(-1, 3))
    sides = corners[:, 1:] - corners[:, :1]
    normals = torch.cross(sides[:, 0], sides[:, 1], dim=1)
    faces = FacesInSight(
        scene=scene_of,
        number=chosen - scene_of * count,
        object=scene.owners.reshape(-1)[vertices[:, 0]],
        corners=corners,
        normals=normals,
        offsets=(normals * corners[:, 0]).sum(1, keepdim=True),
    )
    return faces, rows.index_select(0, numbers)
