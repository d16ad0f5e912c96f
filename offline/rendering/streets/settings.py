"""What streets are drawn from, and how wide they are."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from guard.settings import Settings
from offline.rendering.sampling import Range
from offline.rendering.streets.daylight import WeatherName

__all__ = ["HALF", "LANE", "PAVEMENT", "StreetSettings"]

LANE, HALF, PAVEMENT = 3.2, 5.3, 3.8
"""Metres: a lane, the road from its middle to the kerb, a pavement."""


class StreetSettings(Settings):
    """What streets are drawn from; lengths in metres.

    Attributes:
        hour: solar time.
        weather: one of these for each scene.
        subjects: one of these classes is each scene's first object.
        distance: from the camera to the subject, along the road.
        view: from a car, from the pavement, or either.
        field_of_view: degrees, from the lower to the upper border.
        vehicles: most others beside the subject, driving and parked.
        length: of the road.
        models: a folder of CLASS/MESH to draw objects from, instead of procedural ones.
    """

    hour: Range = (6.0, 20.0)
    weather: tuple[WeatherName, ...] = Field(("clear", "cloudy", "hazy", "overcast"), min_length=1)
    subjects: tuple[str, ...] = Field(
        ("car", "bus", "motorcycle", "bench", "trashcan", "mailbox"), min_length=1
    )
    distance: Range = (6.0, 13.0)
    view: Literal["driver", "roadside", "either"] = "either"
    field_of_view: Range = (38.0, 46.0)
    vehicles: int = Field(12, ge=0, le=30)
    length: float = Field(110.0, ge=40, le=400)
    models: Path | None = None
