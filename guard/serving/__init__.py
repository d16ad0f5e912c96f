"""The server: gRPC services, batching, the ONNX Runtime session, verdicts and metrics.

Nothing in this package imports torch or scikit-learn: it runs where neither is installed.
"""

__all__: list[str] = []
