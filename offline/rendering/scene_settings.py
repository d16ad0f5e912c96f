"""What a scene file may say: the keys of SCENE.yaml, their units and bounds."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from guard.settings import Settings
from offline.rendering.image_formation import ImageFormation
from offline.rendering.streets.daylight import Weather, WeatherName
from offline.rendering.streets.settings import StreetSettings

__all__ = [
    "CameraSettings",
    "DaylightSettings",
    "FogSettings",
    "LampSettings",
    "LightSettings",
    "ObjectSettings",
    "SceneSettings",
]

Triple = tuple[float, float, float]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class ObjectSettings(Settings):
    """One object: a mesh file, or a random object of a procedural class.

    Attributes:
        mesh: a file, from the scene file's folder on.
        class_name: written `class`; of a procedural object, or the name of a file's class, which
            is the file's name where it is left out.
        pose: degrees about x, then y, then z; the object's front is towards +x, y is up.
        translation: where its middle is. A mesh fits the sphere of radius 1 before it is scaled.
        scale: its radius.
        colour: factor on its colours.
        gloss: strength of its highlight.
    """

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)

    mesh: Path | None = None
    class_name: str | None = Field(None, alias="class", min_length=1)
    pose: Triple = (0.0, 0.0, 0.0)
    translation: Triple = (0.0, 0.0, 0.0)
    scale: float = Field(1.0, gt=0)
    colour: tuple[Amount, Amount, Amount] = (1.0, 1.0, 1.0)
    gloss: Amount = 0.0

    @model_validator(mode="after")
    def _one_shape(self) -> "ObjectSettings":
        if self.mesh is None and self.class_name is None:
            raise ValueError("an object wants a `mesh` or a `class`")
        return self


class CameraSettings(Settings):
    """Where the camera is, from the place that it looks at; angles in degrees."""

    distance: float = Field(3.5, gt=0)
    azimuth: float = 35.0
    elevation: float = Field(20.0, ge=-90, le=90)
    field_of_view: float = Field(40.0, ge=1, le=170)
    roll: float = 0.0
    target: Triple = (0.0, 0.0, 0.0)


class LightSettings(Settings):
    """Light from infinity: the direction towards it, and its RGB."""

    direction: Triple = (0.4, 1.0, 0.6)
    colour: tuple[Amount, Amount, Amount] = (0.7, 0.7, 0.7)

    @model_validator(mode="after")
    def _some_direction(self) -> "LightSettings":
        if not any(self.direction):
            raise ValueError("`direction` must not be 0, 0, 0")
        return self


class LampSettings(Settings):
    """A point light: its place, and its RGB at distance 1."""

    place: Triple
    colour: tuple[Amount, Amount, Amount] = (1.0, 1.0, 1.0)


class FogSettings(Settings):
    """Fog: the distance at which 2% of a thing's colour is left, and the fog's RGB."""

    visibility: float = Field(gt=0)
    colour: tuple[Share, Share, Share] = (0.8, 0.82, 0.85)


class DaylightSettings(Settings):
    """Sun, sky and haze of an hour (solar time); `heading` is where -z points, clockwise from
    north, in degrees. Lengths are metres."""

    hour: float = Field(ge=0, le=24)
    weather: WeatherName | Weather = "clear"
    heading: float = 0.0


class SceneSettings(Settings):
    """A scene file. `cornerguard render --help` shows an example.

    Attributes:
        size: height and width in pixels.
        samples: sub-pixels along each side of a pixel.
        renderer: which one makes the images.
        shadows: of the light and the lamps, hard ones; the rasterizer alone casts them.
        seed: of everything random: procedural objects, streets, noise.
        count: how many images.
        image_formation: how a camera sees the light; left out, light is written as it is.
        street: random streets, instead of all of the following.
        objects: the subject first.
        camera: where it is.
        light: the one light at infinity.
        lamps: point lights.
        environment: RGB of the light from all around.
        daylight: instead of light, environment, fog and background.
        fog: over the objects, not over the background.
        background: RGB, or a picture, which is scaled to the images.
    """

    size: tuple[Annotated[int, Field(ge=8, le=4096)], Annotated[int, Field(ge=8, le=4096)]] = (
        224,
        224,
    )
    samples: int = Field(2, ge=1, le=8)
    renderer: str = "rasterizer"
    shadows: bool = True
    seed: int = Field(0, ge=0, lt=1 << 31)
    count: int = Field(1, ge=1, le=10_000_000)
    image_formation: ImageFormation | None = None
    street: StreetSettings | None = None
    objects: tuple[ObjectSettings, ...] = ()
    camera: CameraSettings = CameraSettings()
    light: LightSettings | None = None
    lamps: tuple[LampSettings, ...] = ()
    environment: tuple[Amount, Amount, Amount] | None = None
    daylight: DaylightSettings | None = None
    fog: FogSettings | None = None
    background: tuple[Share, Share, Share] | Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "SceneSettings":
        if (self.street is None) == (not self.objects):
            raise ValueError("one of `objects` and `street` is wanted")
        given = self.model_fields_set
        if self.renderer != "rasterizer" and self.shadows and "shadows" in given:
            raise ValueError(f"{self.renderer} casts no `shadows`; the rasterizer alone does")
        described = {"camera", "light", "lamps", "environment", "daylight", "fog", "background"}
        if self.street is not None and given & described:
            raise ValueError(f"`street` draws its own {', '.join(sorted(given & described))}")
        lit = given & {"light", "environment", "fog", "background"}
        if self.daylight is not None and lit:
            raise ValueError(f"`daylight` gives the {', '.join(sorted(lit))}")
        return self
