"""What nobody has read of a request's body, before its answer goes out.

A server closes a connection on which the rest of a body may still come. A client that
sends the body after the head would then see a broken connection in place of a refusal
that was made from the head alone.
"""

from collections.abc import Iterable

from tuneloop.connections import Application, Environ, StartResponse


class ReadToEnd:
    """A WSGI application around another that may leave bodies unread."""

    def __init__(self, application: Application, *, most_bytes: int) -> None:
        """Wraps `application`.

        Args:
            application: What answers.
            most_bytes: Of a longer body nothing is read: the connection ends with the
                answer.
        """
        self._application = application
        self._most_bytes = most_bytes

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        answer = self._application(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isdigit() and int(length) <= self._most_bytes:
            # Nothing is left where it was read; the server knows where it ends.
            environ["wsgi.input"].read(int(length))
        return answer
