"""Model and detector as one graph, its parity with the module it came from, and the bundle."""

__all__: list[str] = []
