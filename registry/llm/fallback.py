"""Below the threshold: the language model's word instead of "I do not know"."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings

from labeling import llm
from labeling.models import Project
from registry.llm import books
from registry.llm.books import Page, Spent
from registry.llm.line import Heard, line
from registry.onnx.reading import MULTI_THRESHOLD
from registry.serving import measures
from registry.serving.engine import Answer, Target
from registry.serving.fusion import Method
from registry.serving.lookup import Away
from registry.serving.rulebook import Rulebook
from registry.serving.runtime import runtime

_MILLION = 1_000_000
_logger = logging.getLogger(__name__)


def improve(target: Target, answers: Sequence[Answer]) -> list[Answer]:
    """Asks the language model about texts that got the fallback intent for an answer.

    Only where the project wants it and a server is set up. All of a call's texts are
    answered within `settings.LLM_TIMEOUT_S`; those that are not, or whose answer is
    none of the project's codes, or for which nothing is left of the day's budget, keep
    the answer that they have. Never raises in a web process.

    Args:
        target: What the texts were answered with.
        answers: Of `engine.classify`.

    Returns:
        The answers in their order.

    Cost: nothing where all were sure. Else two statements, in a web process through one
    thread with a bounded wait, a call a text in at most `settings.LLM_AT_ONCE` threads,
    and a statement to write down what came of them.
    """
    project, server = target.project, llm.configured()
    if server is None or not is_needed(target, answers):
        return list(answers)
    texts = list(dict.fromkeys(a.text for a in answers if _is_unsure(project, a)))
    try:
        codes = _ask(project, server, texts)
        if not codes:
            return list(answers)
        book = runtime.rulebook(project.pk, project.serving_revision)
        return [
            _improved(answer, codes[answer.text], book, target)
            if _is_unsure(project, answer) and answer.text in codes
            else answer
            for answer in answers
        ]
    except Away:
        measures.count("llm_calls", result="away")
    except Exception:
        _logger.exception("the language model's part failed")
    return list(answers)


def is_needed(target: Target, answers: Iterable[Answer]) -> bool:
    """Whether `improve` has a text to ask about; it may take seconds then."""
    project = target.project
    return (
        project.llm_fallback
        and llm.configured() is not None
        and any(_is_unsure(project, answer) for answer in answers)
    )


def _is_unsure(project: Project, answer: Answer) -> bool:
    """Whether neither rules nor model had anything above the threshold.

    Where a question may have several intents, none at all may be a sure answer.
    """
    is_sure = project.is_multi_intent and not answer.needs_review
    return answer.method == Method.FALLBACK and not is_sure


def _ask(
    project: Project, server: llm.Server, texts: Sequence[str]
) -> dict[str, list[str]]:
    """The codes that the model names for each text, as far as it answers."""
    until = time.monotonic() + settings.LLM_TIMEOUT_S
    own = line(server)
    threads = own.take(len(texts))
    try:
        page = books.open_page(
            project, texts, model=server.model, wanted=len(texts) if threads else 0
        )
        unknown = [text for text in texts if text not in page.known]
        todo = unknown[: page.granted]
        if page.known:
            measures.count("llm_calls", len(page.known), result="cached")
        if left := len(unknown) - len(todo):
            why = "no_budget" if threads else "busy"
            measures.count("llm_calls", left, result=why)
        if not todo:
            return dict(page.known)
        used, threads = threads, 0
        heard = own.ask(page.prompt, todo, threads=used, until=until)
    finally:
        own.give_back(threads)
    _write_down(project, server, page, heard)
    new = {t: one.codes for t, one in heard.items() if one.codes is not None}
    return {**page.known, **new}


def _write_down(
    project: Project, server: llm.Server, page: Page, heard: dict[str, Heard]
) -> None:
    assert page.day is not None  # calls were granted
    spent = Spent(project.pk, page.day, returned=page.granted - len(heard))
    for text, one in heard.items():
        spent.tokens_in += one.tokens_in
        spent.tokens_out += one.tokens_out
        if one.codes is None:
            spent.failed += 1
        else:
            spent.answered += 1
            spent.answers[page.prompt.key(server.model, text)] = one.codes
    spent.cost = (
        spent.tokens_in * settings.LLM_PRICE_IN
        + spent.tokens_out * settings.LLM_PRICE_OUT
    ) / _MILLION
    books.close_page(spent)


def _improved(
    answer: Answer, codes: list[str], book: Rulebook, target: Target
) -> Answer:
    """The answer with the model's word in front; always for a person to look at.

    A language model gives no probability: its answer has the least confidence with
    which anything is answered, and no margin.
    """
    if not book.names.keys() >= set(codes):
        return answer  # one of them has just retired
    if not codes and book.fallback is not None:
        codes = [book.fallback]
    confidence = _least(target, answer)
    before = {intent["code"]: intent for intent in answer.intents}
    intents: list[dict[str, Any]] = [
        {
            "code": code,
            "name": book.names[code],
            "confidence": confidence,
            "sources": {**before.pop(code, {}).get("sources", {}), "llm": 1.0},
        }
        for code in codes
    ]
    if not target.project.is_multi_intent:
        rest = sorted(before.values(), key=lambda i: -i["confidence"])
        intents += rest[: max(0, len(answer.intents) - len(intents))]
    said = {"llm": codes[0]} if codes else {}
    return replace(
        answer,
        intents=intents,
        confidence=confidence,
        margin=0.0,
        method=Method.LLM,
        needs_review=True,
        trace={**(answer.trace or {}), **said},
    )


def _least(target: Target, answer: Answer) -> float:
    """The least confidence with which the sides would have answered."""
    project = target.project
    if answer.version == "":
        return project.accept_threshold_rules
    return MULTI_THRESHOLD if project.is_multi_intent else project.accept_threshold
