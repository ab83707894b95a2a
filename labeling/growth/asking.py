"""Paraphrasings as a manager asks for them: what would be sent, start, cancel."""

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from labeling import llm
from labeling.growth import queueing
from labeling.models import Intent, Paraphrasing, Project, Question
from labeling.taxonomy.audit import note

MOST_SENT = 1_000
"""Questions that one paraphrasing sends."""

MOST_EACH = 10
"""Paraphrases of a question that are asked for."""

EXAMPLES = 20
"""Questions that a preview shows."""

_UNDER_WAY = [Paraphrasing.State.QUEUED, Paraphrasing.State.RUNNING]

# Intents in turn, of each first those that have no paraphrases yet. A question of
# several intents is left out: a synthetic one has one.
_CHOSEN = """
WITH labelled AS (
    SELECT q.id, min(g.intent_id) AS intent_id, q.text_hash,
        EXISTS (SELECT FROM labeling_syntheticquestion s WHERE s.source_id = q.id)
            AS is_done
    FROM labeling_question q JOIN labeling_goldlabel g ON g.question_id = q.id
    WHERE q.project_id = %(project)s AND q.state = 'labelled' AND q.split = 'train'
    GROUP BY q.id HAVING count(*) = 1
)
SELECT l.id FROM labelled l JOIN labeling_intent i ON i.id = l.intent_id
WHERE i.retired_at IS NULL AND (%(all)s OR i.id = ANY(%(intents)s))
ORDER BY row_number() OVER (
    PARTITION BY i.id ORDER BY l.is_done, md5(l.text_hash)), i.code
LIMIT %(limit)s
"""


class UnderWay(Exception):
    """The project's last paraphrasing is not finished; the message says so."""


class WrongState(Exception):
    """The paraphrasing is finished already; the message says so."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What would leave this house."""

    server: llm.Server
    questions: list[int]
    """Ids, in the order of their sending."""
    examples: list[str]
    """The texts of the first of them."""


def preview_paraphrase(
    project: Project,
    *,
    intents: Collection[Intent] | None,
    per_question: int,
    limit: int,
) -> Sending:
    """What `paraphrase` would send, and to whom.

    Labelled train questions alone: no test or validation question leaves this house,
    and so nothing is made that was written after one.

    Raises:
        ValidationError: No server is set up, or there is nothing to send; the message
            says what to do.

    Cost: two queries, one over the project's labelled train questions.
    """
    server = llm.configured()
    if server is None:
        raise ValidationError(
            _(
                "No language model is set up: see TUNELOOP_LLM_URL and"
                " TUNELOOP_LLM_MODEL."
            )
        )
    _check_amount(per_question, limit)
    with connection.cursor() as cursor:
        cursor.execute(
            _CHOSEN,
            {
                "project": project.pk,
                "all": intents is None,
                "intents": [intent.pk for intent in intents or ()],
                "limit": limit,
            },
        )
        ids = [pk for (pk,) in cursor.fetchall()]
    if not ids:
        raise ValidationError(
            _("There is nothing to send: label some questions of these intents first.")
        )
    texts = dict(
        Question.objects.filter(pk__in=ids[:EXAMPLES]).values_list("pk", "text")
    )
    return Sending(server, ids, [texts[pk] for pk in ids[:EXAMPLES] if pk in texts])


def paraphrase(
    project: Project,
    *,
    intents: Collection[Intent] | None = None,
    per_question: int = 3,
    limit: int = 100,
    by: User,
) -> Paraphrasing:
    """Has a worker send questions to the language model, and keep its paraphrases.

    Args:
        project: Whose questions.
        intents: Only theirs; all in use by default.
        per_question: Paraphrases that are asked for of each, up to `MOST_EACH`.
        limit: Questions that are sent, up to `MOST_SENT`; the intents take turns.
        by: Who wants it.

    Raises:
        ValidationError: As `preview_paraphrase`.
        UnderWay: Another one of this project is not finished.
    """
    sending = preview_paraphrase(
        project, intents=intents, per_question=per_question, limit=limit
    )
    with transaction.atomic():
        try:
            with transaction.atomic():
                run = Paraphrasing.objects.create(
                    project=project,
                    server=sending.server.host[:200],
                    model=sending.server.model[:200],
                    per_question=per_question,
                    questions=sending.questions,
                    language=get_language() or "",
                    by=by,
                )
        except IntegrityError as error:
            raise UnderWay(
                _("The last paraphrasing of this project is not finished yet.")
            ) from error
        note(
            project,
            by,
            _("Sends %(n)d questions to the language model %(model)s at %(server)s.")
            % {"n": len(run.questions), "model": run.model, "server": run.server},
        )
        queueing.put_on_commit(run.pk, run.attempt)
    return run


def cancel(run: Paraphrasing) -> None:
    """Ends a paraphrasing; a running one sends nothing more after its next question.

    What it has made stays.

    Raises:
        WrongState: It is finished already.
    """
    if not Paraphrasing.objects.filter(pk=run.pk, state__in=_UNDER_WAY).update(
        state=Paraphrasing.State.CANCELLED, finished_at=Now()
    ):
        raise WrongState(_("This is finished already."))


def _check_amount(per_question: int, limit: int) -> None:
    for n, most in ((per_question, MOST_EACH), (limit, MOST_SENT)):
        if not 1 <= n <= most:
            raise ValidationError(
                _("Between 1 and %(most)d, not %(n)d.") % {"most": most, "n": n}
            )
