"""Settings that a person writes as YAML: read, checked, and every mistake named with its line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from guard.errors import BadInput, nearest
from guard.given import Given, from_overrides

__all__ = ["Settings", "load_settings", "parse_settings", "where"]

Kind = TypeVar("Kind", bound="Settings")


class Settings(BaseModel):
    """A group of settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def load_settings(
    path: Path, kind: type[Kind], overrides: tuple[str, ...] = (), given: Sequence[Given] = ()
) -> Kind:
    """Read a YAML file into `kind`; `overrides` are `a.b=value` and win over the file.

    `given` does so too, the later over the earlier.

    Raises:
        BadInput: the file is missing or not YAML, a key is unknown, a value is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise BadInput(f"{path}: cannot be read: {reason}") from None
    return parse_settings(text, str(path), kind, overrides, given)


def parse_settings(
    text: str,
    source: str,
    kind: type[Kind],
    overrides: tuple[str, ...] = (),
    given: Sequence[Given] = (),
) -> Kind:
    """Read YAML text into `kind`; `source` is what messages call the text."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise BadInput(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise BadInput(f"{source}: a mapping of keys is wanted, this is a {type(values).__name__}")
    given = (*from_overrides(overrides), *given)
    for value in given:
        _put(values, value)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise BadInput(_explain(error, node, source, kind, given)) from None


def where(path: Path, key: str) -> str:
    """Say where a key was named: `recipe.yaml:7: fit.layers`; a list's item by its number."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    parts = [int(part) if part.isdecimal() else part for part in key.split(".")]
    return f"{path}:{_line_of(node, parts)}: {key}"


def _put(values: dict[str, Any], given: Given) -> None:
    *parents, last = given.key
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise BadInput(f"{given.source}: {parent!r} is not a group of keys")
        values = inner
    values[last] = given.value


def _explain(
    error: ValidationError,
    node: yaml.Node | None,
    source: str,
    kind: type,
    given: Sequence[Given],
) -> str:
    """Put the first mistake into one line: `recipe.yaml:7: fit.nu: …`."""
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if not _is_union_branch(part)]
    givers = [value.source for value in given if _overlap(value.key, location)]
    where = givers[-1] if givers else f"{source}:{_line_of(node, location)}"
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if first["type"] == "extra_forbidden":
        known = _keys_at(kind, location[:-1])
        return f"{where}: unknown key {path[1:]!r}{nearest(str(location[-1]), known)}"
    if first["type"] == "missing":
        return f"{where}: {path[1:]!r} is missing"
    message = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    value = "" if first["type"] == "value_error" else f", not {str(first['input'])[:60]!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    named = f"{path[1:]}: " if path else ""
    return f"{where}: {named}{message[:1].lower()}{message[1:]}{value}{more}"


def _overlap(key: Sequence[str], location: Sequence[int | str]) -> bool:
    return all(part == other for part, other in zip(key, location, strict=False))


def _is_union_branch(part: int | str) -> bool:
    """Whether pydantic put this part of the path there to name a branch of a union."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in _BRANCHES)


_BRANCHES = {"str", "int", "float", "bool", "dict", "list"}


def _line_of(node: yaml.Node | None, location: list[int | str]) -> int:
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                return line
            line, node = found[-1][0].start_mark.line + 1, found[-1][1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _keys_at(kind: Any, location: list[int | str]) -> list[str]:
    """Name the keys that the group of settings at `location` has."""
    for part in location:
        if isinstance(part, int):  # of a list, whose items' settings are found already
            continue
        field = getattr(kind, "model_fields", {}).get(part)
        if field is None:
            return []
        branches = [field.annotation, *getattr(field.annotation, "__args__", ())]
        kind = next((branch for branch in branches if hasattr(branch, "model_fields")), None)
    return [field.alias or name for name, field in getattr(kind, "model_fields", {}).items()]
