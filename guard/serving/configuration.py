"""Settings of the server from all their places: a file, the environment, flags, in rising order."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from guard.given import from_environment, from_flags, from_overrides
from guard.serving.config import ServeSettings
from guard.settings import load_settings, parse_settings

__all__ = ["PREFIX", "as_yaml", "serve_settings"]

PREFIX = "CORNERGUARD_"


def serve_settings(
    config: Path | None, flags: Mapping[str, Any], overrides: Sequence[str] = ()
) -> ServeSettings:
    """Read the settings; a flag wins over `CORNERGUARD_GROUP__KEY`, and that over the file.

    Args:
        config: a YAML file; None for none.
        flags: by the key's name; None is one that was not given.
        overrides: `group.key=value`.

    Raises:
        BadInput: a value is not allowed; the message names the flag, the variable or the line.
    """
    environment = from_environment(PREFIX, os.environ)
    given = (*environment, *from_flags(flags), *from_overrides(overrides))
    if config is None:
        return parse_settings("", "the settings", ServeSettings, given=given)
    return load_settings(config, ServeSettings, given=given)


def as_yaml(settings: ServeSettings) -> str:
    """Return every setting as YAML, such as `--config` reads; secrets lie in files of their own."""
    values = settings.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
