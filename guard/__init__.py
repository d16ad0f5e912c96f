"""What runs at inference: probes, validators, the guarded model, and the server.

Importing this package imports neither torch nor scikit-learn.
"""

__all__: list[str] = []
