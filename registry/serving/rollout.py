"""What a request needs to know of the rollout that runs in its project."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """A version on a share of live traffic; immutable, read with the project."""

    id: int
    version_id: int
    number: int
    """The version's."""
    mode: str
    """A `registry.models.Rollout.Mode`."""
    share: float
    """Of the requests, above 0, to 1."""
