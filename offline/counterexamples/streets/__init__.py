"""Attacks on streets: what moves there, where it may be, and how detectors fail."""

__all__: list[str] = []
