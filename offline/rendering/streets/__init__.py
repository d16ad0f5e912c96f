"""Street scenes: roads, houses, trees, lamps and traffic, by day and night and in any weather."""

from offline.rendering.streets.daylight import Daylight, Weather, daylight
from offline.rendering.streets.settings import StreetSettings
from offline.rendering.streets.street import sample_streets

__all__ = ["Daylight", "StreetSettings", "Weather", "daylight", "sample_streets"]
