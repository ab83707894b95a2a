"""What nobody has read of a request's body, before its answer goes out.

A server closes a connection on which the rest of a body may still come. A client that
sends the body after the head would then see a broken connection in place of a refusal
that was made from the head alone.
"""

from collections.abc import Iterable

from tuneloop.connections import Application, Environ, StartResponse

MOST_BYTES = 4 * 1024 * 1024
"""Of a longer rest nothing is read: the connection ends with the answer."""


class ReadToEnd:
    """A WSGI application around another that may leave bodies unread."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        answer = self._application(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isdigit() and int(length) <= MOST_BYTES:
            # Nothing is left where it was read; the server knows where it ends.
            environ["wsgi.input"].read(int(length))
        return answer
