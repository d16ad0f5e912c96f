"""A small report in which every section has something to show, under hostile names."""

from dataclasses import replace

import numpy as np
import torch

from offline.corner_cases import CornerCases, Deformation, Dropped, Seeds
from offline.evaluation.counterexamples_shown import Answer, AttackShown, CounterexampleShown
from offline.evaluation.detection import CornerCaseDetection, Detection, roc_auc
from offline.evaluation.distortion import DistortionCurve, DistortionPoint
from offline.evaluation.rates import false_alarms, rate
from offline.evaluation.report_data import (
    BundleFacts,
    Measure,
    ReportData,
    TrainingCurve,
    corner_case_examples,
)
from offline.evaluation.robustness import Accuracy

HOSTILE = ("<script>alert(1)</script>", 'x" onerror="alert(2)', "$\\frac{$ & 'quoted'")
MEASURES = (
    Measure("Clean accuracy", 0.9, 0.95, floor=0.9),
    Measure("False alarms", None, 0.2, floor=0.1, at_most=True),
    Measure("Confidence", 0.8, 0.7),
)


def full_report() -> ReportData:
    random = np.random.default_rng(0)
    picture = random.random((3, 8, 8), dtype=np.float32)
    return ReportData(
        name=HOSTILE[0],
        measures=MEASURES,
        counterexamples=attacks(picture),
        corner_cases=(corner_case_examples(cases(), seeds(), HOSTILE, limit=3),),
        dropped=(Dropped("contrast", "success rate 3%", 0.03),),
        detection=detection(random),
        threshold=0.5,
        distortion=(
            DistortionCurve(
                "scale",
                (
                    DistortionPoint((1.0, 1.0), 0.0, None, rate(1, 20)),
                    DistortionPoint((0.5, 0.5), 0.6, rate(11, 12), rate(4, 8)),
                ),
            ),
        ),
        training=(TrainingCurve("Hardening", "loss", {"_robust $": [2.0, 1.0], "clean": [1.0]}),),
        clean=Accuracy(
            5,
            6,
            5 / 6,
            0.9,
            dict.fromkeys(HOSTILE, 1.0),
            ((2, 0, 0), (1, 1, 0), (0, 0, 2)),
        ),
        bundle=BundleFacts((HOSTILE[2],), 0.5, 0.05, 99, {"model.onnx": 1234567}, "ab" * 32),
        recipe="name: </pre><script>alert(3)</script>",
        versions={"torch": "2.15.0"},
    )


def attacks(picture: np.ndarray) -> tuple[AttackShown, ...]:
    """Two attacks with two examples and one; only the first was asked about after hardening."""
    one = CounterexampleShown(
        original=picture,
        counterexample=picture[:, ::-1].copy(),
        label=HOSTILE[0],
        before=Answer(HOSTILE[0], 0.9, right=True),
        after=Answer(HOSTILE[1], 0.8, right=False),
        hardened=Answer(HOSTILE[0], 0.7, right=True),
        changed={HOSTILE[2]: "x +3.0°"},
        distance=0.25,
        lpips=0.125,
    )
    two = replace(one, label=HOSTILE[1], after=Answer(HOSTILE[2], 0.6, right=False))
    three = replace(one, distance=0.5, lpips=None, hardened=None)
    found = AttackShown(HOSTILE[0], attacked=9, found=5, examples=(one, two))
    return found, AttackShown("sCW", attacked=9, found=1, examples=(three,))


def detection(random: np.random.Generator) -> Detection:
    clean, wrong, right = random.normal(0, 1, 40), random.normal(3, 1, 12), random.normal(1, 1, 8)
    entry = CornerCaseDetection(
        name="scale",
        configuration="(s_x, s_y) = (0.5, 0.5)",
        success_rate=0.6,
        auc=roc_auc(clean, wrong),
        auc_failed=roc_auc(clean, right),
        auc_by_layer=(0.75, None),
        detected=rate(11, 12),
        detected_failed=rate(4, 8),
    )
    return Detection(
        layers=("stem", HOSTILE[2]),
        corner_cases=(entry,),
        overall=replace(entry, name="overall", configuration=""),
        false_alarms=false_alarms(2, 40, 0.05, 99),
        clean_scores=clean,
        successful_scores={"scale": wrong},
        failed_scores={"scale": right},
    )


def seeds() -> Seeds:
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Seeds(images, torch.tensor([0, 1, 2, 0]), torch.arange(4))


def cases() -> CornerCases:
    deformation = Deformation((("complement", ()),))
    return CornerCases(
        "complement",
        deformation,
        deformation(seeds().images),
        seeds().labels,
        torch.tensor([0, 2, 2, 1]),
        torch.tensor([0.5, 0.6, 0.7, 0.8]),
    )
