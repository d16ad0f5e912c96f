"""Sampling around scenes: the baselines of the semantic attacks."""

__all__: list[str] = []
