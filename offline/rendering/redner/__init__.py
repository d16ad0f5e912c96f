"""redner 0.4.28, the seeds' renderer, in a worker under the Python 3.8 that its wheels are for."""

from offline.rendering.redner.environment import home, install, missing
from offline.rendering.redner.renderer import Redner

__all__ = ["Redner", "home", "install", "missing"]
