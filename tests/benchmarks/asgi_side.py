"""The application behind an ASGI server, in a pool of threads: for bench_servers."""

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tuneloop.wsgi import application as _wsgi

_pool = ThreadPoolExecutor(32)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """As little as such an adapter can do."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    loop = asyncio.get_running_loop()
    status, headers, content = await loop.run_in_executor(_pool, _call, scope, body)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _call(scope: Any, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    environ = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"],
        "SCRIPT_NAME": "",
        "QUERY_STRING": scope["query_string"].decode(),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    for name, value in scope["headers"]:
        key = name.decode().upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = value.decode("latin-1")
    seen: list[Any] = []

    def start(status: str, headers: Any, exc_info: Any = None) -> None:
        pairs = [(k.lower().encode(), v.encode()) for k, v in headers]
        seen[:] = [int(status[:3]), pairs]

    content = b"".join(_wsgi(environ, start))
    return seen[0], seen[1], content
