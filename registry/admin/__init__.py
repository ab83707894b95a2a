"""The admin pages of the registry; Django imports this module and finds them all."""

from registry.admin import (
    log,
    rollout_alarms,
    rollout_replays,
    rollout_tunings,
    rollouts,
    serving,
    versions,
)

__all__ = [
    "log",
    "rollout_alarms",
    "rollout_replays",
    "rollout_tunings",
    "rollouts",
    "serving",
    "versions",
]
