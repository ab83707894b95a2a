"""A scripted server of OpenAI's protocol, for what a real model can't be made to do."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, str] | str
"""A status and a body, or the text that the model says."""


class Speaker:
    """What it was asked, and what it says to it."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.say: Callable[[str], Answer] = lambda question: '{"intent": "pay"}'
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def asked(self) -> list[str]:
        """The questions, in the order in which they came."""
        return [_question(request) for request in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        speaker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(
                    self.rfile.read(int(self.headers["Content-Length"]))
                )
                speaker.requests.append(request)
                said = speaker.say(_question(request))
                status, body = said if isinstance(said, tuple) else (200, _whole(said))
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.end_headers()
                    self.wfile.write(body.encode())
                except OSError:
                    pass  # nobody waited for it

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def _question(request: dict[str, Any]) -> str:
    question: str = json.loads(request["messages"][-1]["content"])["question"]
    return question


def _whole(said: str) -> str:
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    used = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny"}
    return json.dumps({**head, "choices": [choice], "usage": used})
