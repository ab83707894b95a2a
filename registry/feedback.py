"""What clients say of answers: right or wrong, and what would have been right."""

import time
from uuid import UUID

from django.db.models import Value
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from labeling import taxonomy
from labeling.models import Project, Question
from labeling.ranking.priority import RAISED
from registry.models import ClassificationLog, Feedback
from registry.serving import journal

_ON_ITS_WAY_S = journal.LINGER_S + 4.0
"""How long feedback waits for an answer that is on this machine's disk: another process
takes up to `journal.LINGER_S` and a transaction to bring it to the log."""
_LOOK_EVERY_S = 0.05


class UnknownRequest(LookupError):
    """No answer of the project has this request id."""


@taxonomy.again_if_merged
def give(
    project: Project, request_id: UUID, *, verdict: str, intent_code: str | None
) -> Feedback:
    """Keeps a client's verdict; a later one on the same answer replaces it.

    A question that was answered wrong goes to the head of the labelling queue, if it
    waits for a label.

    Args:
        project: Whose answer it was.
        request_id: From the answer.
        verdict: "right" or "wrong".
        intent_code: The intent that would have been right, if the client knows.

    Raises:
        UnknownRequest: There is no such answer.
        labeling.taxonomy.UnknownIntent: The code names no intent in use.

    Cost: a few queries; mostly a second or less, at most five, where the answer is so
    new that it is on its way from local disk into the log.
    """
    logged = _find(project, request_id)
    if logged is None:
        raise UnknownRequest(_("No answer of this project has this request id."))
    intent = None
    if intent_code is not None:
        (intent,) = taxonomy.resolve_codes(project, [intent_code])
    given, _created = Feedback.objects.update_or_create(
        log=logged,
        defaults={"verdict": Feedback.Verdict(verdict), "intent": intent},
    )
    if verdict == Feedback.Verdict.WRONG and logged.question_id is not None:
        Question.objects.filter(
            pk=logged.question_id, state=Question.State.OPEN
        ).update(priority=Greatest("priority", Value(RAISED)))
    return given


def _find(project: Project, request_id: UUID) -> ClassificationLog | None:
    answers = ClassificationLog.objects.filter(project=project, request_id=request_id)
    deadline = time.monotonic() + _ON_ITS_WAY_S
    while (logged := answers.first()) is None and time.monotonic() < deadline:
        if not journal.is_on_disk(request_id):
            # It may have come since, and its file have gone.
            return answers.first()
        # Another process's answers come by themselves.
        journal.flush(_LOOK_EVERY_S)
        time.sleep(_LOOK_EVERY_S)
    return logged
