"""The benchmark of detection from first to last, on digits of 8x8 pixels and a tiny network."""

from tests.benchmarks.detection import benchmark
from tests.benchmarks.peers import PEERS
from tests.benchmarks.subjects import Subject


def test_every_detector_is_measured_on_the_same_images(subject: Subject) -> None:
    figures = benchmark(subject, seeds=2, images=30)
    assert figures["accuracy"] > 0.9
    assert figures["peers"].keys() == PEERS.keys()
    assert not figures["peers_failed"]
    assert 0.8 < figures["overall_auc"] <= 1
    assert figures["best_peer"]["auc"] == max(figures["peers"].values())
    for border in ("zeros", "reflection"):
        single = figures["single_validators"][border]
        assert {"block", "dense"} <= single.keys()
        own = figures["per_transformation"][border].keys()
        assert own == figures["peers_per_transformation"]["KNN"][border].keys() - {"overall"}
    rates = [figures["realised_fpr"][rate] for rate in ("1%", "3%", "7%")]
    assert rates == sorted(rates)
    assert rates[2] < 0.2
    assert figures["deviation"]["overall_auc"] > 0
