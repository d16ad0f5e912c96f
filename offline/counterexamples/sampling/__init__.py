"""Sampling around scenes: the baselines of the semantic attacks."""
