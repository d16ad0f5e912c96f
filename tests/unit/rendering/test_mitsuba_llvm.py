"""What is refused before Mitsuba is asked: settings out of range, an LLVM that ends the process."""

from pathlib import Path

import pytest

from guard.errors import BadInput, CornerguardError
from offline.rendering.mitsuba import Mitsuba
from offline.rendering.mitsuba.llvm import find_llvm


def test_a_machine_without_llvm_is_told_the_package() -> None:
    with pytest.raises(CornerguardError, match="missing: `apt install libllvm19`"):
        find_llvm([])


@pytest.mark.parametrize("name", ["libLLVM-15.so.1", "libLLVM-16.so", "libLLVM.so.16.0", "x.so"])
def test_an_llvm_that_ends_the_process_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CornerguardError, match=f"{name} is older or cannot be loaded"):
        find_llvm([tmp_path / name])


def test_the_newest_llvm_is_taken(tmp_path: Path) -> None:
    paths = [
        tmp_path / name for name in ("libLLVM-9.so.1", "libLLVM.so.19.1", "libLLVM-18.1.8.so.1")
    ]
    for path in paths:
        path.touch()
    assert find_llvm(paths) == paths[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0}, "0 x 16 pixels"),
        ({"samples": 0}, "0 samples"),
        ({"variant": "scalar_rgb"}, "allowed are llvm_ad_rgb, cuda_ad_rgb"),
        ({"seed": -1}, "seed -1: allowed"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, int | str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Mitsuba(**{"height": 16, "width": 16, **values})
