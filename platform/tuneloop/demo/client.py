"""A client app that keeps asking over HTTP while versions come and go."""

import http.client
import json
import threading
from collections import Counter
from itertools import cycle


class LiveClient(threading.Thread):
    """Asks one question after the other until it is stopped.

    Attributes:
        answered: Answers by the version that gave them.
        failed: What went wrong, one entry a request; empty when all went well.
    """

    def __init__(self, port: int, key: str, texts: list[str]) -> None:
        super().__init__(name="live client", daemon=True)
        self._port, self._key, self._texts = port, key, texts
        self._stopped = threading.Event()
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self.latest = ""

    def run(self) -> None:
        """The thread: one connection, one request at a time."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for text in cycle(self._texts):
            if self._stopped.wait(0.02):
                break
            try:
                answer = ask(connection, self._key, text)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            self.latest = answer["version"]
            self.answered[answer["version"]] += 1
        connection.close()

    def stop(self) -> None:
        """Ends the thread after the request in flight."""
        self._stopped.set()
        self.join()


def ask(connection: http.client.HTTPConnection, key: str, text: str) -> dict[str, str]:
    """One classification over HTTP.

    Raises:
        ValueError: The answer is not a 200; it is quoted.
    """
    connection.request(
        "POST",
        "/api/v1/classify",
        json.dumps({"text": text}),
        {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"},
    )
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ValueError(f"{response.status}: {body[:200]!r}")
    answer: dict[str, str] = json.loads(body)
    return answer
