"""Every post-hoc detector of pytorch-ood that fits a small classifier, and the thesis's two peers.

Each is fitted to the same part of the training images, with the parameters that its documentation
gives as defaults, and where there are none with those of its paper. Those that reshape feature maps
work where their papers do, on the pooled features before the last layer; RankFeat on the last maps.
Larger scores mean outliers.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pytorch_ood import detector as ood
from torch import Tensor, nn

from tests.benchmarks.baselines import (
    ClassKernelDensity,
    feature_squeezing,
    held_out_bandwidth,
    median_smoothing,
    non_local_means,
    reduced_depth,
)
from tests.benchmarks.observation import BATCH, Observation, Parts, Training, observe

__all__ = ["LEFT_OUT", "PEERS", "Fitted", "Peer", "fit_peers", "peer_scores"]

Scorer = Callable[[Observation], Tensor]
Peer = Callable[[Parts, Training], Scorer]

LEFT_OUT = {
    "MCM": "compares images with the embeddings of words, which a plain classifier lacks",
    "WeightedEBO": "its weights are learnt while the classifier is trained",
}


class Fitted(NamedTuple):
    """Peers ready to score, and why each of the rest is not."""

    scorers: dict[str, Scorer]
    failed: dict[str, str]


def fit_peers(parts: Parts, training: Training) -> Fitted:
    """Fit every peer of `PEERS`; one that fails is kept by name with its reason."""
    fitted = Fitted({}, {})
    for name, peer in PEERS.items():
        try:
            fitted.scorers[name] = peer(parts, training)
        except Exception as error:  # whatever another library raises is what is reported
            fitted.failed[name] = _reason(error)
    return fitted


def peer_scores(
    fitted: Fitted, parts: Parts, stream: Iterable[Float[Tensor, "b c h w"]]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Score images a batch at a time; a peer that fails moves to `fitted.failed`."""
    found: dict[str, list[Tensor]] = {name: [] for name in fitted.scorers}
    for images in stream:
        for piece in images.split(BATCH):
            seen = observe(parts, piece)
            for name, scorer in [*fitted.scorers.items()]:
                try:
                    found[name].append(_checked(scorer(seen), len(piece)))
                except Exception as error:  # as above
                    fitted.failed[name] = _reason(error)
                    del fitted.scorers[name]
    return {name: torch.cat(found[name]).numpy() for name in fitted.scorers}


def _of_logits(detector: Any) -> Peer:
    return lambda parts, training: lambda seen: detector.predict_logits(seen.logits)


def _fitted_logits(build: Callable[[], Any], *, held_out: bool = False) -> Peer:
    def peer(parts: Parts, training: Training) -> Scorer:
        logits, labels = (
            (training.held_out_logits, training.held_out_labels)
            if held_out
            else (training.logits, training.labels)
        )
        detector = build().fit_logits(logits, labels)
        return lambda seen: detector.predict_logits(seen.logits)

    return peer


def _fitted_features(build: Callable[[Parts], Any]) -> Peer:
    def peer(parts: Parts, training: Training) -> Scorer:
        detector = build(parts).fit_features(training.features, training.labels)
        return lambda seen: detector.predict_features(seen.features)

    return peer


def _shaped(kind: Callable[..., Any]) -> Peer:
    def peer(parts: Parts, training: Training) -> Scorer:
        detector = kind(backbone=parts.encoder, head=nn.Sequential(nn.Flatten(), parts.head))
        if detector.requires_fit:
            detector.fit_feature_maps(_as_maps(training.features), training.labels)
        return lambda seen: detector.predict_feature_maps(_as_maps(seen.features))

    return peer


def _logit_scaling(parts: Parts, training: Training) -> Scorer:
    detector = ood.LTS(None, parts.head)
    return lambda seen: detector.predict_features(seen.features)


def _rank_feat(parts: Parts, training: Training) -> Scorer:
    detector = ood.RankFeat(parts.backbone, parts.tail)
    return lambda seen: detector.predict_feature_maps(seen.maps[-1])


def _of_head_gradients(kind: Callable[..., Any]) -> Peer:
    def peer(parts: Parts, training: Training) -> Scorer:
        detector = kind(parts.head, param_filter=lambda name: name == "weight")
        return lambda seen: detector.predict(seen.features)

    return peer


def _odin(parts: Parts, training: Training) -> Scorer:
    detector = ood.ODIN(parts.model)
    return lambda seen: detector.predict(seen.images)


def _mahalanobis_odin(parts: Parts, training: Training) -> Scorer:
    detector = ood.MahalanobisODIN(parts.encoder).fit_features(training.features, training.labels)

    def scorer(seen: Observation) -> Tensor:
        found: Tensor = detector.predict(seen.images)
        parts.model.zero_grad(set_to_none=True)  # it leaves gradients behind in the model
        return found

    return scorer


def _multi_mahalanobis(parts: Parts, training: Training) -> Scorer:
    detector = ood.MultiMahalanobis(list(parts.blocks))
    detector.fit_structured(list(training.pooled), training.labels)
    return lambda seen: detector.predict_structured([maps.mean((2, 3)) for maps in seen.maps])


def _gram(parts: Parts, training: Training) -> Scorer:
    detector = ood.Gram(parts.tail, list(parts.blocks), parts.head.out_features)
    with torch.random.fork_rng():  # it draws its held-out part from torch's own generator
        torch.manual_seed(0)
        detector.fit(training.loader())
    return lambda seen: detector.predict_structured(seen.logits, list(seen.maps))


def _activation_coverage(parts: Parts, training: Training) -> Scorer:
    detector = ood.NACUE(parts.model, parts.blocks).fit(training.loader())
    return lambda seen: detector.predict(seen.images)


def _dropout_sampling(parts: Parts, training: Training) -> Scorer:
    if not any(isinstance(module, nn.Dropout) for module in parts.neck.modules()):
        raise ValueError("the network has no dropout to sample from")
    detector = ood.MCD(parts.tail)

    def scorer(seen: Observation) -> Tensor:
        with torch.random.fork_rng():  # dropout draws from torch's own generator
            torch.manual_seed(0)
            found: Tensor = detector.predict(seen.maps[-1])
        return found

    return scorer


def _squeezed(parts: Parts, training: Training) -> Scorer:
    """Xu et al. 2018, Table IV: the best joint detector for grey images, and for colour."""
    grey = training.images.shape[1] == 1
    squeezers = [partial(reduced_depth, bits=1 if grey else 5), partial(median_smoothing, side=2)]
    if not grey:
        squeezers.append(partial(non_local_means, search=11, patch=3, strength=4))
    return lambda seen: feature_squeezing(parts.model, seen.images, squeezers)


def _kernel_density(parts: Parts, training: Training) -> Scorer:
    classes = parts.head.out_features
    bandwidth = held_out_bandwidth(training.features, training.labels, classes)
    density = ClassKernelDensity(training.features, training.labels, classes, bandwidth)
    return lambda seen: density(seen.features, seen.logits.argmax(1))


PEERS: dict[str, Peer] = {
    "MaxSoftmax": _of_logits(ood.MaxSoftmax(None)),
    "MaxLogit": _of_logits(ood.MaxLogit(None)),
    "EnergyBased": _of_logits(ood.EnergyBased(None)),
    "Entropy": _of_logits(ood.Entropy(None)),
    "GEN": _of_logits(ood.GEN(None)),
    "TemperatureScaling": _fitted_logits(lambda: ood.TemperatureScaling(None), held_out=True),
    "KLMatching": _fitted_logits(lambda: ood.KLMatching(None), held_out=True),
    "OpenMax": _fitted_logits(lambda: ood.OpenMax(None)),
    "Mahalanobis": _fitted_features(lambda parts: ood.Mahalanobis(None)),
    "RMD": _fitted_features(lambda parts: ood.RMD(None)),
    "GMM": _fitted_features(lambda parts: ood.GMM(None)),
    "KNN": _fitted_features(lambda parts: ood.KNN(None)),
    "NNGuide": _fitted_features(lambda parts: ood.NNGuide(None, parts.head)),
    "SHE": _fitted_features(lambda parts: ood.SHE(None, parts.head)),
    "fDBD": _fitted_features(lambda parts: ood.fDBD(None, parts.head)),
    "NCI": _fitted_features(lambda parts: ood.NCI(None, parts.head)),
    "PNML": _fitted_features(lambda parts: ood.PNML(None, parts.head)),
    "ViM": _fitted_features(
        lambda parts: ood.ViM(None, parts.head.in_features // 2, parts.head.weight, parts.head.bias)
    ),
    "DICE": _fitted_features(
        lambda parts: ood.DICE(None, parts.head.weight, parts.head.bias, p=0.9)
    ),
    "LTS": _logit_scaling,
    "ASH": _shaped(ood.ASH),
    "SCALE": _shaped(ood.SCALE),
    "ReAct": _shaped(ood.ReAct),
    "VRA": _shaped(ood.VRA),
    "RankFeat": _rank_feat,
    "GradNorm": _of_head_gradients(ood.GradNorm),
    "GradUncertainty": _of_head_gradients(ood.GradUncertainty),
    "ODIN": _odin,
    "MahalanobisODIN": _mahalanobis_odin,
    "MultiMahalanobis": _multi_mahalanobis,
    "Gram": _gram,
    "NACUE": _activation_coverage,
    "MCD": _dropout_sampling,
    "feature squeezing": _squeezed,
    "kernel density": _kernel_density,
}


def _as_maps(features: Float[Tensor, "b feature"]) -> Float[Tensor, "b feature 1 1"]:
    return features[:, :, None, None]


def _checked(scores: Tensor, count: int) -> Tensor:
    scores = scores.detach().cpu().double()
    if scores.shape != (count,):
        raise ValueError(f"gives scores of shape {list(scores.shape)} for {count} images")
    if not scores.isfinite().all():
        raise ValueError(f"{int((~scores.isfinite()).sum())} of {count} scores are not finite")
    return scores


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
