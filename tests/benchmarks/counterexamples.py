"""What semantic attacks cost a classifier, what sampling finds, and what retraining wins back.

    python -m tests.benchmarks.counterexamples [--meshes DIR [--z-up NAME …]]
        [--preset resnet50|vgg16] [--judge test|validation] [--rounds 1] [--jobs 2] [--quick]
        [--save FILE]

A ResNet-18 is trained on rendered images of the twelve procedural classes, or of the meshes
DIR/CLASS/NAME.obj, and attacked on scenes that it has not seen by si-FGSM, sGD and sCW with the
seeds' hyperparameters (000, table 11 `resnet50`, table 10 `vgg16`). Random and Halton sampling move
the pose of the same scenes: N = 5 in the large and the small range (table 1), and by as many
renders as each attack took. Then the model is retrained as in appendix E.6: half of the training
images, drawn at random, are replaced by what an attack made of them, be it a counterexample or not.
`retrained` are the tables Train x Test: `static` with the images that were found on the model as it
was (tables 2, 15), `adaptive` with every model attacked anew, on fewer scenes (tables 5, 19).
`seeds` is their procedure, and its figures are those held against the bars. With `--rounds` above
1, beyond the seeds, the model as it has become is attacked again on another half and trained again:
`more_rounds`, and the figures that end so.
Attacks on the scenes that judge have the machine for themselves and are timed; the rest is done by
`--jobs` processes.

All settings of training were chosen on `validation` scenes; `test` scenes judge. Trained models and
what was found are kept under runs/benchmarks, so that a run that was stopped goes on. The last line
is one JSON object. `--quick` measures nothing: it shows on small images that the benchmark runs.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from guard.storage import write_json
from tests.benchmarks.attack_figures import attack_figures, sampling_figures
from tests.benchmarks.provenance import provenance
from tests.benchmarks.retraining_figures import (
    hybrid_figures,
    prepare,
    retraining_figures,
    transfer_figures,
)
from tests.benchmarks.scene_images import mesh_source, procedural_source
from tests.benchmarks.semantic_subject import ATTACKS, FULL, QUICK, Subject, open_subject

__all__ = ["benchmark"]


def main(
    meshes: Annotated[Path | None, typer.Option(exists=True, file_okay=False)] = None,
    z_up: list[str] = [],  # noqa: B006 - typer copies it
    preset: Literal["resnet50", "vgg16"] = "resnet50",
    judge: Literal["test", "validation"] = "test",
    rounds: Annotated[int, typer.Option(min=1)] = 1,
    jobs: Annotated[int, typer.Option(min=1)] = 2,
    quick: bool = False,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    source = procedural_source() if meshes is None else mesh_source(meshes, tuple(z_up))
    sizes = (QUICK if quick else FULL)._replace(rounds=rounds)
    subject = open_subject(source, preset, judge, sizes)
    whole = {**provenance(), "quick": quick, **benchmark(subject, jobs)}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(subject: Subject, jobs: int = 1) -> dict[str, Any]:
    """Return every figure of a subject, those that are compared with the bars among them."""
    attacks = {name: attack_figures(subject, name) for name in ATTACKS}
    prepare(subject, jobs)
    retrained = retraining_figures(subject)
    drops = {
        "drop_" + name.lower().replace("-", "_"): round(
            100 * (each["accuracy_benign"] - each["accuracy_attacked"]), 2
        )
        for name, each in attacks.items()
    }
    found = [each["seconds_per_counterexample"] for each in attacks.values()]
    return {
        **subject.described(),
        **drops,
        **{
            f"ratio_{method}_equal_renders": min(
                each["equal_renders"][f"{method}_small"]["ratio"] for each in attacks.values()
            )
            for method in ("random", "halton")
        },
        **retrained["seeds"]["summary"],
        **{
            f"{name}_more_rounds": value
            for name, value in retrained.get("more_rounds", {}).get("summary", {}).items()
        },
        "seconds_per_counterexample": None if None in found else max(found),
        "attacks": attacks,
        "sampling": sampling_figures(subject),
        "retrained": retrained,
        "hybrid": hybrid_figures(subject),
        "transfer": transfer_figures(subject),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    typer.run(main)
