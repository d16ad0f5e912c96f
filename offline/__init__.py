"""Before a release: find how a model fails, harden it, learn where it is trustworthy."""

__all__: list[str] = []
