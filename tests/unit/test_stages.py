"""A finished stage is reused; a changed, half-written or broken one is made anew."""

from pathlib import Path

import pytest

from guard.errors import CornerguardError
from offline.stages import Run


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "result").write_text(str(self.calls))


def test_a_stage_is_made_once_and_again_when_what_it_is_made_from_changes(tmp_path: Path) -> None:
    first, second = Counting(), Counting()

    def go(seed: int, rate: float) -> None:
        run = Run(tmp_path / "run")
        run.stage("train", {"seed": seed}, first)
        run.stage("fit", {"rate": rate}, second, after=("train",))

    for seed, rate, calls in [
        (0, 0.1, (1, 1)),
        (0, 0.1, (1, 1)),
        (0, 0.2, (1, 2)),
        (1, 0.2, (2, 3)),
    ]:
        go(seed, rate)
        assert (first.calls, second.calls) == calls


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"key": 3}'])
def test_a_broken_marker_is_never_taken_for_a_finished_stage(tmp_path: Path, marker: str) -> None:
    make = Counting()
    Run(tmp_path).stage("train", {}, make)
    (tmp_path / ".stages" / "train.json").write_text(marker)
    Run(tmp_path).stage("train", {}, make)
    assert make.calls == 2


def test_an_interrupted_stage_leaves_nothing_and_is_made_again(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "result").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path).stage("train", {}, interrupted)
    assert not (tmp_path / "train").exists()
    make = Counting()
    assert (Run(tmp_path).stage("train", {}, make) / "result").read_text() == "1"


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with (
        Run(tmp_path).locked(),
        pytest.raises(CornerguardError, match="another process is at work"),
        Run(tmp_path).locked(),
    ):
        pass
