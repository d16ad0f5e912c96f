"""What a person sets of a search in shards."""

from typing import Any, Literal

from pydantic import Field

from offline.counterexamples.attack_settings import AttackSettings

__all__ = ["SearchSettings"]


class SearchSettings(AttackSettings):
    """An attack, and how the work of it is cut and given out.

    Attributes:
        shard: scenes that are attacked together and kept in one file. A scene's result is the same
            to rounding in a shard of another size, and the same bits in one of the same.
        jobs: shards at work at once; -1 is one per core. Each has one thread; a GPU has one shard.
        backend: where: on `threads` here, or on the cores of the cluster at RAY_ADDRESS, all of
            whose nodes share the disk that the run's folder is on.
    """

    shard: int = Field(60, ge=1)
    jobs: int = Field(-1, ge=-1)
    backend: Literal["threads", "ray"] = "threads"

    @property
    def attack_alone(self) -> AttackSettings:
        """The attack, without how its work is given out."""
        return AttackSettings(**{name: getattr(self, name) for name in AttackSettings.model_fields})

    def decisive(self) -> dict[str, Any]:
        """Return as JSON values what decides the counterexamples, to rounding."""
        return self.attack_alone.model_dump(mode="json")
