"""Every mistake in a YAML file is one line that names the file, the line and the key."""

import re
from pathlib import Path

import pytest
from pydantic import Field

from guard.errors import BadInput
from guard.settings import Settings, load_settings, parse_settings, where


class Inner(Settings):
    rate: float = Field(0.5, ge=0, le=1)
    layers: tuple[str, ...] | str = "auto"


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_reads_values_defaults_and_overrides() -> None:
    text = "name: a\ninner:\n  rate: 0.25\n"
    settings = parse_settings(text, "f.yaml", Outer, ("inner.layers=[x, y]", "maybe.rate=1"))
    assert settings == Outer(
        name="a", inner=Inner(rate=0.25, layers=("x", "y")), maybe=Inner(rate=1)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\ninner:\n  rte: 1\n",
            r"f\.yaml:3: unknown key 'inner\.rte'; did you mean 'rate'\?",
        ),
        (
            "name: a\nmaybe:\n  lyers: 1\n",
            r"f\.yaml:3: unknown key 'maybe\.lyers'; did you mean 'layers'",
        ),
        ("nam: a\n", r"f\.yaml:1: 'name' is missing"),
        (
            "name: a\ninner:\n  rate: 2\n",
            r"f\.yaml:3: inner\.rate: .*less than or equal to 1, not '2'",
        ),
        ("name: a\ninner:\n  rate: .nan\n", r"f\.yaml:3: inner\.rate: .*finite number"),
        ("name: [\n", r"f\.yaml:2: not YAML"),
        ("- a\n", r"f\.yaml: a mapping of keys is wanted, this is a list"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_settings(text, "f.yaml", Outer)
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [("seed", "KEY=VALUE"), ("name.x=1", "not a group"), ("inner.rte=1", "unknown key")],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_settings("name: a\n", "f.yaml", Outer, (override,))


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml", Outer)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not UTF-8 text"):
        load_settings(tmp_path / "binary.yaml", Outer)


def test_yaml_cannot_make_objects() -> None:
    with pytest.raises(BadInput, match="not YAML"):
        parse_settings("name: !!python/object/apply:os.getcwd []\n", "f.yaml", Outer)


def test_where_finds_the_line_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("name: a\ninner:\n  rate: 1\n  layers: [x]\n")
    assert where(file, "inner.layers") == f"{file}:4: inner.layers"
