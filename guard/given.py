"""Settings given beside a file: by flags, by `--set`, by environment variables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from guard.errors import BadInput

__all__ = ["Given", "from_environment", "from_flags", "from_overrides"]


@dataclass(frozen=True)
class Given:
    """A value that was given beside the file, and wins over it."""

    key: tuple[str, ...]
    value: Any
    source: str
    """What messages call the place where it was given."""


def from_environment(prefix: str, environment: Mapping[str, str]) -> tuple[Given, ...]:
    """Return what variables such as `PREFIX_GROUP__KEY` set.

    A value is taken as text, which becomes a number or a truth value where one is wanted; `null`
    and what starts with `[` or `{` is read as YAML.
    """
    names = {
        name: name.removeprefix(prefix)
        for name in sorted(environment)
        if name.startswith(prefix) and not _of_kubernetes(name.removeprefix(prefix))
    }
    return tuple(
        Given(tuple(bare.lower().split("__")), _value(environment[name]), name)
        for name, bare in names.items()
    )


def from_flags(flags: Mapping[str, Any]) -> tuple[Given, ...]:
    """Return what flags set, by the key's name; None is one that was not given."""
    return tuple(
        Given((key,), flag, f"--{key.replace('_', '-')}")
        for key, flag in flags.items()
        if flag is not None
    )


def from_overrides(overrides: Sequence[str]) -> tuple[Given, ...]:
    """Return what `--set a.b=value` sets, the value read as YAML.

    Raises:
        BadInput: an override is not of this form.
    """
    return tuple(map(_override, overrides))


def _override(text: str) -> Given:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInput(f"--set {text}: KEY=VALUE is wanted, such as --set seed=1")
    return Given(tuple(key.split(".")), _yaml(value), f"--set {text}")


def _value(text: str) -> Any:
    return _yaml(text) if text[:1] in ("[", "{") or text == "null" else text


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _of_kubernetes(name: str) -> bool:
    """Whether Kubernetes itself sets such a variable in each pod beside a Service of our name."""
    return bool(re.fullmatch(r"SERVICE_HOST|(SERVICE_)?PORT(_[A-Z0-9_]+)?", name))
