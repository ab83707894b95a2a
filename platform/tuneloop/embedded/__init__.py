"""PostgreSQL and Valkey that run by themselves when no server of the team's is named.

A data folder has at most one server of each kind. A small keeper process starts it,
restarts it when it dies, and stops it when nobody needs it any more. Who needs it holds
a shared lock on a file; the kernel drops such a lock however a process ends, so neither
Ctrl-C nor kill -9 leaves a server behind.
"""

import os
from pathlib import Path

from .share import ServiceError, Share

__all__ = ["ServiceError", "in_use", "provide", "release", "revive"]

_VARIABLES = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}
_shares: list[Share] = []


def provide(home: Path) -> list[str]:
    """Sets DATABASE_URL and REDIS_URL where they are unset, with servers behind them.

    Child processes inherit both and so never start servers of their own. The servers
    run until `release`, or until this process ends in whatever way.

    Args:
        home: The data folder, an existing absolute path.

    Returns:
        The names of the embedded services now in use, in the order of their start.

    Raises:
        ServiceError: A server did not start; the message says why and where to look.
    """
    for variable, service in _VARIABLES.items():
        if os.environ.get(variable):
            continue
        share = Share(service, home)
        _shares.append(share)
        os.environ[variable] = share.acquire()
    return in_use()


def in_use() -> list[str]:
    """The names of the embedded services that this process holds."""
    return [share.service for share in _shares]


def revive() -> list[str]:
    """Starts again the keepers that were killed; the addresses stay the same.

    Returns:
        The names of the services whose keeper had to be started.

    Raises:
        ServiceError: A server did not start.
    """
    return [share.service for share in _shares if share.revive()]


def release() -> None:
    """Gives the servers up and waits until those that nobody else uses have stopped."""
    while _shares:
        _shares.pop().release()
    # The variables stay: what still runs here should fail, not start new servers.
