"""Counterexamples on disk: tar shards with a manifest, written by tasks of joblib."""

__all__: list[str] = []
