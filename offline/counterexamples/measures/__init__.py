"""What counterexamples are worth: information, realism, distance in the space of scenes."""

__all__: list[str] = []
