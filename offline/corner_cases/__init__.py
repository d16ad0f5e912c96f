"""Natural corner cases: transformations of real images, grown until the model errs."""

from offline.corner_cases.found import CornerCases, CornerCaseSearch, Dropped
from offline.corner_cases.search import (
    CornerCaseSettings,
    Seeds,
    find_corner_cases,
    seed_images,
)
from offline.corner_cases.search_space import TRANSFORMATIONS, Deformation, Transformation

__all__ = [
    "TRANSFORMATIONS",
    "CornerCaseSearch",
    "CornerCaseSettings",
    "CornerCases",
    "Deformation",
    "Dropped",
    "Seeds",
    "Transformation",
    "find_corner_cases",
    "seed_images",
]
