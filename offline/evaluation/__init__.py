"""Evaluation: accuracy, robustness, detection, and the release report."""

__all__: list[str] = []
