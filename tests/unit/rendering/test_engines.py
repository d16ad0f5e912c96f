"""Renderers by name: which are made, and what is said of those that are not installed."""

from pathlib import Path

import pytest

from guard.errors import CornerguardError
from offline.rendering.engines import RENDERERS, engines, make_renderer
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.redner.environment import HOME_VARIABLE


def test_the_rasterizer_is_made_as_asked_and_always_ready() -> None:
    assert make_renderer("rasterizer", (8, 9), 2, shadows=True) == Rasterizer(8, 9, 2, shadows=True)
    assert tuple(engines()) == RENDERERS
    assert engines()["rasterizer"] is None


def test_what_is_not_installed_is_said_before_anything_is_rendered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    lacking = engines()["redner"]
    assert lacking is not None
    assert "cornerguard renderer install redner" in lacking
    with pytest.raises(CornerguardError, match="renderer redner: no environment at"):
        make_renderer("redner", (8, 9), 2)
