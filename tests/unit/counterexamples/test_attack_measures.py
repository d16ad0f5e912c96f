"""The figures of an attack on a trained classifier, against scikit-learn and the records."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score
from trained_classifier import SIZE, new_scenes, trained_classifier

from offline.counterexamples import (
    AttackSettings,
    Counterexamples,
    find_counterexamples,
    fractional_membership,
    information_worth,
)
from offline.counterexamples.measures.attack_measures import attack_measures
from offline.counterexamples.measures.realism import Realism
from offline.rendering import Rasterizer

CLASSES = 12


@pytest.fixture(scope="module")
def found() -> Counterexamples:
    scenes, labels = new_scenes(20, seed=3)
    settings = AttackSettings(steps={"pose": 0.3}, iterations=2)
    return find_counterexamples(
        Rasterizer(SIZE, SIZE, 1), trained_classifier(), scenes, labels, settings
    )


def test_the_figures_are_those_of_the_record(found: Counterexamples) -> None:
    measures = attack_measures(trained_classifier(), found)
    assert json.loads(json.dumps(measures, allow_nan=False)) == measures
    assert 0 < measures["found"] == int(found.success.sum())
    assert measures["renders_per_success"] == int(found.renders.sum()) / measures["found"]
    present = np.unique(found.labels)
    recalls = recall_score(found.labels, found.predicted_after, labels=present, average=None)
    by_class = np.array(measures["accuracy_by_class"], dtype=float)
    np.testing.assert_allclose(by_class[present], recalls, atol=5e-5)
    assert np.isnan(np.delete(by_class, present)).all()  # a class without a scene has no accuracy
    turned = (found.after.pose - found.before.pose)[found.success].norm(dim=2).median()
    assert measures["moved_median"] == {"pose": pytest.approx(float(turned))}
    assert measures["information_worth"]["binary"] > measures["information_worth_benign"]["binary"]
    assert measures["realism"] is None
    assert measures["information_worth_by_realism"] is None


def test_realism_weighs_the_information(found: Counterexamples) -> None:
    likeness = torch.linspace(0.1, 1, len(found))
    nothing = (None,) * CLASSES
    realism = Realism(1 - likeness, likeness, 0.45, nothing, None, nothing, ("FID: no weights",))
    measures = attack_measures(trained_classifier(), found, realism)
    with torch.no_grad():
        logits = trained_classifier()(found.images_after.float() / 255)
    worth = information_worth(fractional_membership(logits), found.labels, likeness)
    assert measures["information_worth_by_realism"]["fractional"] == pytest.approx(worth, rel=1e-4)
    assert measures["realism"]["not_measured"] == ["FID: no weights"]
