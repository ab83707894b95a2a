"""The language model: any server that speaks OpenAI's protocol, as the settings say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _


class LanguageModelError(Exception):
    """Nothing more can be had of the server; the message is for a manager."""


class NoAnswer(Exception):
    """This request came to nothing; the next one may not. The message says why."""


class Unreadable(NoAnswer):
    """The answer is not what was asked for."""


class NotTaken(NoAnswer):
    """The server holds the request for a wrong one: it may not know an option."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the language model is."""

    url: str
    """Base address of the API, up to `/v1`."""
    model: str
    key: str = ""

    @property
    def host(self) -> str:
        """Name and port, without what may be secret in the address."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def configured() -> Server | None:
    """The server of the settings; None where they name none."""
    if not (settings.LLM_URL and settings.LLM_MODEL):
        return None
    return Server(settings.LLM_URL, settings.LLM_MODEL, settings.LLM_KEY)


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said, and what it cost; 0 tokens where the server counts none."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Chat:
    """One server's client; thread-safe, and it keeps its connections."""

    def __init__(self, server: Server, *, timeout_s: float, retries: int) -> None:
        """Opens nothing yet.

        Args:
            server: Who is asked.
            timeout_s: Longest that one request may take.
            retries: Times that a request is sent again, with growing pauses, to a
                server that is busy or away.
        """
        from openai import OpenAI  # a second: for those alone who ask

        self._model = server.model
        self._client = OpenAI(
            base_url=server.url,
            api_key=server.key or "none",
            timeout=timeout_s,
            max_retries=retries,
        )

    def say(self, messages: Sequence[dict[str, str]], **options: Any) -> Said:
        """What the model says to these messages.

        Args:
            messages: `[{"role": …, "content": …}]`.
            **options: Of the protocol; `timeout` in seconds for this request alone.

        Raises:
            NoAnswer: This one came to nothing.
            LanguageModelError: No other one will do better.
        """
        import openai

        wanted: Any = list(messages)
        try:
            answer = self._client.chat.completions.create(
                model=self._model, messages=wanted, **options
            )
            text = answer.choices[0].message.content
            used = answer.usage
            return Said(
                text if isinstance(text, str) else "",
                int(used.prompt_tokens or 0) if used else 0,
                int(used.completion_tokens or 0) if used else 0,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise LanguageModelError(
                _("The server refuses the key: see TUNELOOP_LLM_KEY.")
            ) from error
        except openai.NotFoundError as error:
            raise LanguageModelError(
                _(
                    "The server knows no model “%(model)s”, or its address is another"
                    " one: see TUNELOOP_LLM_MODEL and TUNELOOP_LLM_URL."
                )
                % {"model": self._model}
            ) from error
        except openai.APITimeoutError as error:
            raise NoAnswer(_("The server did not answer in time.")) from error
        except openai.APIConnectionError as error:
            raise NoAnswer(_("The server can't be reached.")) from error
        except openai.APIStatusError as error:
            is_wrong = isinstance(
                error, (openai.BadRequestError, openai.UnprocessableEntityError)
            )
            raise (NotTaken if is_wrong else NoAnswer)(
                _("The server answered with an error, status %(status)d.")
                % {"status": error.status_code}
            ) from error
        # An answer that is no JSON, or lacks what the protocol promises.
        except (
            *(openai.OpenAIError, ValueError, AttributeError, IndexError, TypeError),
        ) as error:
            raise Unreadable(_("The server does not speak the protocol.")) from error
