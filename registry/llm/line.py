"""This process's line to the language model: how many ask at once, and for how long."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from django.conf import settings

from labeling.llm import Chat, LanguageModelError, NoAnswer, NotTaken, Said, Server
from registry.llm.circuit import Circuit
from registry.llm.prompt import Prompt
from registry.serving import measures

_MOST_TOKENS = 256
"""Of an answer: a few codes."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of one call."""

    codes: list[str] | None
    """None where it came to nothing."""
    tokens_in: int = 0
    tokens_out: int = 0


class Line:
    """One server, asked by at most `settings.LLM_AT_ONCE` threads at once."""

    def __init__(self, server: Server) -> None:
        """Connects to nothing yet."""
        self._server = server
        self._free = threading.Semaphore(settings.LLM_AT_ONCE)
        self._circuit = Circuit()
        self._is_plain = False

    @property
    def is_broken(self) -> bool:
        """Whether the server is left alone for now, because it does not answer."""
        return self._circuit.is_open

    def take(self, wanted: int) -> int:
        """Threads that the caller may have now, up to `wanted`; it gives them back.

        None while the server is left alone: nobody waits for it, and while all are
        busy: a slow server must not collect the threads that answer other questions.
        """
        taken = 0
        while taken < wanted and self._free.acquire(blocking=False):
            taken += 1
        if taken and not self._circuit.may_ask():
            self.give_back(taken)
            return 0
        return taken

    def give_back(self, taken: int) -> None:
        """Frees threads that were not used."""
        if taken:
            self._free.release(taken)

    def ask(
        self, prompt: Prompt, texts: Sequence[str], *, threads: int, until: float
    ) -> dict[str, Heard]:
        """Asks for each text, until a moment; whatever is not heard by then is not.

        Args:
            prompt: The project's.
            texts: Distinct, at least one.
            threads: From `take`; given back when the last call has ended.
            until: By `time.monotonic`.

        Returns:
            What became of each call that was begun, by text.
        """
        used = min(threads, len(texts))
        self.give_back(threads - used)
        round_ = _Round(texts, used)
        for _thread in range(used):
            threading.Thread(
                target=self._work,
                args=(prompt, round_, until),
                name="tuneloop-llm-call",
                daemon=True,
            ).start()
        round_.ended.wait(max(0.0, until - time.monotonic()))
        heard, unheard = round_.close()
        for _text in range(unheard):
            self._circuit.failed()
        return heard

    def _work(self, prompt: Prompt, round_: "_Round", until: float) -> None:
        try:
            # A little less: an answer in the last moment would come too late.
            while (left_s := until - time.monotonic() - 0.05) > 0:
                if (text := round_.next()) is None:
                    return
                heard = self._call(prompt, text, left_s)
                if not round_.put(text, heard):
                    return
                if heard.codes is None and self._circuit.is_open:
                    return
        finally:
            self.give_back(1)
            round_.leave()

    def _call(self, prompt: Prompt, text: str, left_s: float) -> Heard:
        said = Said("")
        try:
            with measures.stage("llm"):
                said = self._say(prompt, text, left_s)
            heard = Heard(prompt.read(said.text), said.tokens_in, said.tokens_out)
        except (NoAnswer, LanguageModelError) as error:
            _logger.warning("%s: %s", self._server.host, error)
            self._circuit.failed(for_good=isinstance(error, LanguageModelError))
            measures.count("llm_calls", result="failed")
            return Heard(None, said.tokens_in, said.tokens_out)
        except Exception:
            _logger.exception("%s: asking failed", self._server.host)
            self._circuit.failed()
            measures.count("llm_calls", result="failed")
            return Heard(None)
        self._circuit.succeeded()
        measures.count("llm_calls", result="answered")
        return heard

    def _say(self, prompt: Prompt, text: str, left_s: float) -> Said:
        messages, due = prompt.messages(text), time.monotonic() + left_s
        if not self._is_plain:
            try:
                return self._chat.say(messages, timeout=left_s, **_options(prompt))
            except NotTaken:
                # Some servers know no schemas, or no such bounds.
                pass
        said = self._chat.say(messages, timeout=max(0.05, due - time.monotonic()))
        self._is_plain = True
        return said

    @cached_property
    def _chat(self) -> Chat:
        return Chat(self._server, timeout_s=settings.LLM_TIMEOUT_S, retries=0)


def _options(prompt: Prompt) -> dict[str, Any]:
    form = {"name": "intents", "strict": True, "schema": prompt.schema}
    return {
        "response_format": {"type": "json_schema", "json_schema": form},
        "temperature": 0,
        "max_completion_tokens": _MOST_TOKENS,
    }


class _Round:
    """The texts of one request, and what was heard while it waited."""

    def __init__(self, texts: Sequence[str], threads: int) -> None:
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._todo = deque(texts)
        self._begun: set[str] = set()
        self._heard: dict[str, Heard] = {}
        self._threads = threads
        self._is_closed = False

    def next(self) -> str | None:
        """A text that nobody has begun."""
        with self._lock:
            if self._is_closed or not self._todo:
                return None
            text = self._todo.popleft()
            self._begun.add(text)
            return text

    def put(self, text: str, heard: Heard) -> bool:
        """Notes what became of it; False if nobody waits any more."""
        with self._lock:
            if self._is_closed:
                return False
            self._heard[text] = heard
            return True

    def leave(self) -> None:
        """A thread has ended."""
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self.ended.set()

    def close(self) -> tuple[dict[str, Heard], int]:
        """What was heard of the texts that were begun; how many were not heard of."""
        with self._lock:
            self._is_closed = True
            heard = {text: self._heard.get(text, Heard(None)) for text in self._begun}
            return heard, len(heard) - len(self._heard)


@lru_cache(maxsize=4)
def line(server: Server) -> Line:
    """This process's line to a server."""
    return Line(server)
