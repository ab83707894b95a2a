"""RQ's entry points. They take ids, start what does the work, and decide nothing."""

from registry import queueing, refresh
from registry.rollout import replaying
from registry.serving import journal


def refresh_queue(project_id: int) -> None:
    """Brings a project's labelling queue a piece further."""
    refresh.run(project_id)


def refresh_queues() -> None:
    """Has the workers refresh the projects that wait for it; the scheduler calls it."""
    for project_id in refresh.due():
        queueing.refresh(project_id)


def replay(replay_id: int) -> None:
    """Replays a version over logged traffic, if it is its turn."""
    replaying.execute(replay_id)


def sweep_replays() -> None:
    """Takes up replays that a crashed worker or a lost queue left behind."""
    replaying.sweep()


def adopt_journals() -> None:
    """Logs the answers that ended web processes left on this machine's disk."""
    journal.adopt()
