"""Counterexamples on disk: tar shards with a manifest, written by tasks of joblib."""
