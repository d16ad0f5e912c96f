"""One one-class SVM per class of a layer."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from torch import nn

from guard.one_class_svm import OneClassSVMs, Solution
from guard.progress import CONSOLE, track
from offline.cluster import on_ray
from offline.fitting.features import Features
from offline.fitting.reduction import reduce_vectors
from offline.fitting.selection import GAMMAS, MOST_ROWS, NUS, Kernel, choose_kernel
from offline.fitting.settings import FitSettings
from offline.fitting.solver import solve

__all__ = ["fit_svms"]


def fit_svms(
    layers: Sequence[Features], scalings: Sequence[nn.Module], settings: FitSettings
) -> list[OneClassSVMs]:
    """Train the SVMs of every layer and class (line 10 of Algorithm 1).

    The tasks are joblib's, one per layer and class, so a parallel backend that the caller has
    chosen is used; otherwise threads, since libsvm runs outside of Python's lock and a process
    would first have to load PyTorch. All classes of a layer share one kernel width, as in
    section 3.4.3: gamma, as set or chosen, over the total variance of the layer's scaled features,
    which is scikit-learn's gamma="scale" for centred features.

    Raises:
        BadInput: `settings.backend` is Ray, and it is not installed or no cluster answers.
    """
    classes = len(layers[0].counts)
    total = len(layers) * classes
    # Counted are tasks given out, a few ahead of those solved, because Ray's backend gives no
    # results before the last. Each is made when given out: until then its features stay on disk.
    tasks = track(_tasks(layers, scalings, settings), f"Fitting {total} one-class SVMs", total)
    # One thread per task: those of BLAS, of several tasks at once, spin while they wait.
    # A worker that claims no core may be put beside all the others, on one node.
    cluster = on_ray("fit.backend", num_cpus=1) if settings.backend == "ray" else nullcontext()
    with threadpool_limits(1), cluster:
        solutions = Parallel(n_jobs=settings.jobs, prefer="threads")(tasks)
    return [
        OneClassSVMs.from_solutions(solutions[start : start + classes])
        for start in range(0, total, classes)
    ]


def _tasks(
    layers: Sequence[Features], scalings: Sequence[nn.Module], settings: FitSettings
) -> Iterator[object]:
    for features, scaling in zip(layers, scalings, strict=True):
        variance = _total_variance(features, scaling)
        kernel = _kernel(features, scaling, variance, settings)
        for label in range(len(features.counts)):
            rows = np.array(features.of_class(label))  # not a map of a file that others may lack
            yield delayed(_fit)(rows, scaling, kernel, variance, settings.max_vectors)


def _kernel(
    features: Features, scaling: nn.Module, variance: float, settings: FitSettings
) -> Kernel:
    gammas = GAMMAS if settings.gamma == "auto" else (settings.gamma,)
    nus = NUS if settings.nu == "auto" else (settings.nu,)
    if len(gammas) * len(nus) == 1:
        return Kernel(gammas[0], nus[0])
    classes = range(len(features.counts))
    rows = [_scaled(np.array(features.of_class(label)[:MOST_ROWS]), scaling) for label in classes]
    kernel = choose_kernel(rows, variance, gammas, nus)
    CONSOLE.print(
        f"layer {features.path.stem}: gamma {kernel.gamma:g}, nu {kernel.nu:g}", highlight=False
    )
    return kernel


def _fit(
    rows: Float[np.ndarray, "n feature"],
    scaling: nn.Module,
    kernel: Kernel,
    variance: float,
    most: int | None,
) -> Solution:
    scaled = _scaled(rows, scaling)
    solution = solve(scaled, kernel.nu, kernel.gamma / variance)
    if most is None:
        return solution
    return reduce_vectors(solution, scaled.astype(np.float64), most)


def _total_variance(features: Features, scaling: nn.Module) -> float:
    """Sum the variances of all scaled features, between classes and within."""
    count, sums, squares = int(features.counts.sum()), np.zeros(1), 0.0
    for label in range(len(features.counts)):
        scaled = _scaled(np.array(features.of_class(label)), scaling)
        sums = sums + scaled.sum(axis=0, dtype=np.float64)
        squares += float(np.square(scaled).sum(dtype=np.float64))
    variance = squares / count - float(np.square(sums / count).sum())
    return variance if variance > 0 else 1.0


def _scaled(
    rows: Float[np.ndarray, "n feature"], scaling: nn.Module
) -> Float[np.ndarray, "n component"]:
    return np.asarray(scaling(torch.from_numpy(rows)).numpy())
