"""Scenes that a person describes as YAML: read, checked, and built one image at a time."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from guard.errors import BadInput, nearest
from guard.settings import load_settings, where
from offline.rendering.composing import compose, uniform_environment
from offline.rendering.meshes.files import load_mesh
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.scene import Scene, concatenate
from offline.rendering.scene_settings import ObjectSettings, SceneSettings
from offline.rendering.streets.daylight import WEATHERS, daylight
from offline.rendering.streets.models import StreetModels
from offline.rendering.streets.sky import sky_image
from offline.rendering.streets.street import sample_streets

__all__ = ["SceneFile", "load_scene_file"]


@dataclass(frozen=True)
class SceneFile:
    """A scene file that was read, with its meshes; paths in it start at its own folder."""

    settings: SceneSettings
    classes: tuple[str, ...]
    """Names of the numbers in `Scene.classes`."""
    meshes: tuple[Mesh | None, ...]
    """Of each object; None is drawn anew for each image."""
    picture: Tensor | None
    """The background [1, 3, height, width], where it is one."""
    models: StreetModels | None
    """What streets are drawn from."""

    @property
    def varies(self) -> bool:
        """Return whether one image differs from the next."""
        formed = self.settings.image_formation
        noisy = formed is not None and formed.full_well > 0
        return self.models is not None or None in self.meshes or noisy

    def scenes(self, first: int, count: int) -> Scene:
        """Return the scenes of some images; each follows from the seed and its own number alone."""
        return concatenate([self._scene(first + i) for i in range(count)])

    def _scene(self, number: int) -> Scene:
        given = self.settings
        # A multiplier far above the number of images keeps the images of two seeds apart.
        generator = torch.Generator().manual_seed(given.seed * 1_000_000_007 + number)
        if given.street is not None:
            return sample_streets(1, generator, given.size, given.street, self.models)
        meshes = [
            mesh or procedural_mesh(str(each.class_name), generator)
            for each, mesh in zip(given.objects, self.meshes, strict=True)
        ]
        classes = [self.classes.index(_name(each)) for each in given.objects]
        scene = compose([meshes], [classes])
        pose = torch.tensor([each.pose for each in given.objects])[None]
        camera = given.camera
        angles = (camera.azimuth, camera.elevation, camera.field_of_view, camera.roll)
        camera_row = (camera.distance, *(math.radians(a) for a in angles), *camera.target)
        scene = dataclasses.replace(
            scene,
            pose=torch.deg2rad(pose),
            translation=torch.tensor([each.translation for each in given.objects])[None],
            scale=torch.tensor([[each.scale for each in given.objects]]),
            colour=torch.tensor([each.colour for each in given.objects])[None],
            gloss=torch.tensor([[each.gloss for each in given.objects]]),
            camera=torch.tensor([camera_row]),
            lamps=torch.tensor([(*lamp.place, *lamp.colour) for lamp in given.lamps])
            .float()
            .reshape(1, -1, 6),
        )
        return self._lit(scene)

    def _lit(self, scene: Scene) -> Scene:
        given = self.settings
        if given.daylight is not None:
            weather = given.daylight.weather
            day = daylight(
                torch.tensor([given.daylight.hour]),
                [WEATHERS[weather] if isinstance(weather, str) else weather],
                torch.tensor([math.radians(given.daylight.heading)]),
            )
            sky = sky_image(day.sky, scene.camera, *given.size)
            return dataclasses.replace(
                scene, light=day.light, environment=day.environment, fog=day.fog, background=sky
            )
        if given.light is not None:
            light = (*given.light.direction, *given.light.colour)
            scene = scene.replace(light=torch.tensor([light]))
        elif not given.lamps and given.environment is None:
            scene = scene.replace(light=torch.tensor([(0.4, 1.0, 0.6, 0.7, 0.7, 0.7)]))
        around = (0.4, 0.4, 0.4) if given.environment is None else given.environment
        scene = scene.replace(environment=uniform_environment(torch.tensor([around])))
        if given.fog is not None:
            density = -math.log(0.02) / given.fog.visibility
            scene = scene.replace(fog=torch.tensor([(density, *given.fog.colour)]))
        if self.picture is not None:
            return scene.replace(background=self.picture)
        if isinstance(given.background, tuple):
            colour = torch.tensor([given.background])
            return scene.replace(background=colour[:, :, None, None])
        return scene


def load_scene_file(path: Path) -> SceneFile:
    """Read a scene file and all that it names.

    Raises:
        BadInput: a mistake in the file, or a file it names that is missing or damaged; both are
            named with the line.
    """
    settings = load_settings(path, SceneSettings)
    folder = path.parent
    if settings.street is not None:
        models = settings.street.models
        if models is not None and not (folder / models).is_dir():
            raise BadInput(f"{where(path, 'street.models')}: {models}: there is no such folder")
        try:
            drawn = StreetModels(None if models is None else folder / models)
            for name in settings.street.subjects:
                drawn.check(name)
        except BadInput as error:
            raise BadInput(f"{where(path, 'street')}: {error}") from None
        return SceneFile(settings, drawn.classes, (), None, drawn)
    meshes = []
    for number, each in enumerate(settings.objects):
        key = f"objects.{number}." + ("class" if each.mesh is None else "mesh")
        try:
            meshes.append(_mesh(each, folder))
        except BadInput as error:
            raise BadInput(f"{where(path, key)}: {error}") from None
    names = tuple(dict.fromkeys(_name(each) for each in settings.objects))
    picture = None
    if isinstance(settings.background, Path):
        try:
            picture = _picture(folder / settings.background, settings.size)
        except BadInput as error:
            raise BadInput(f"{where(path, 'background')}: {error}") from None
    return SceneFile(settings, names, tuple(meshes), picture, None)


def _mesh(each: ObjectSettings, folder: Path) -> Mesh | None:
    if each.mesh is not None:
        return load_mesh(folder / each.mesh)
    if each.class_name not in CLASSES:
        raise BadInput(f"no procedural class {each.class_name!r}{nearest(_name(each), CLASSES)}")
    return None


def _name(each: ObjectSettings) -> str:
    return each.class_name or (each.mesh or Path()).stem


def _picture(path: Path, size: tuple[int, int]) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((size[1], size[0])))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path}: not a picture that can be read: {reason}") from None
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
