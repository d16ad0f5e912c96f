"""The benchmark of white-box attacks from first to last, on digits and a tiny network."""

import pytest

from offline.fitting import FitSettings
from tests.benchmarks.adversarial_images import attacks
from tests.benchmarks.peers import PEERS
from tests.benchmarks.subjects import Subject
from tests.benchmarks.white_box import benchmark


def test_every_detector_is_measured_on_the_same_attacks(subject: Subject) -> None:
    columns = [one for one in attacks(colour=False) if one.name in ("FGSM", "JSMA")]
    with_energy = FitSettings(layers=("block", "dense", "energy"), jobs=1)
    figures = benchmark(
        subject._replace(fit=with_energy), 12, columns, radii=(0.05, 0.3), evasion={"steps": 10}
    )
    assert figures["attacks"].keys() == {"FGSM untargeted", "JSMA next", "JSMA ll"}
    assert figures["peers"].keys() == PEERS.keys()
    assert not figures["peers_failed"]
    fgsm = figures["attacks"]["FGSM untargeted"]
    assert fgsm["success_rate"] > 0.5
    assert fgsm["distortion"]["linf"] == pytest.approx(0.3, abs=0.003)
    assert fgsm["target_rate"] is None
    for name in ("JSMA next", "JSMA ll"):
        jsma = figures["attacks"][name]
        assert jsma["success_rate"] >= jsma["target_rate"]
        assert jsma["budget"] == {"theta": 1.0, "gamma": 0.1}
    assert 0.6 < figures["overall_ae_auc"] <= 1
    best = figures["best_peer_sae"]
    assert best["auc"] == max(areas["overall_sae_auc"] for areas in figures["peers"].values())
    weak, strong = figures["adaptive"]["0.05"], figures["adaptive"]["0.3"]
    assert weak["fooled"] < strong["fooled"]
    for one in (weak, strong):
        assert one["evaded"]["7%"] <= one["evaded"]["3%"] <= one["evaded"]["1%"] <= one["fooled"]
    assert strong["evaded"]["1%"] > 0
