"""Before a release: find how a model fails, harden it, learn where its inner states are trustworthy."""

__all__: list[str] = []
