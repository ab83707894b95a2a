"""Which open question to label first, as one formula in Python and in SQL.

    priority = (1 - confidence) + 0.01 * (1 - 1 / (1 + occurrences))

The first term is least-confidence sampling: 1 - P(best intent | text). A question that
no model has seen counts as confidence 0. The second, below one point of confidence,
lets traffic decide between questions that the model knows equally badly.

Source: Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", 1994;
Settles, "Active Learning Literature Survey", 2009, sections 3.1 and 3.6.
"""

from django.db.models import F, FloatField
from django.db.models.expressions import Combinable, Value
from django.db.models.functions import Cast, Coalesce

RAISED = 2.0
"""Priority of a question that a client called answered wrong. Above every score, which
end at 1.01, and kept until it is labelled, however sure later answers are."""

_TRAFFIC_WEIGHT = 0.01


def score(*, confidence: float | None, occurrences: int) -> float:
    """The priority of a question; higher is sooner.

    Args:
        confidence: Of the latest answer, 0 to 1; None where there is none.
        occurrences: How often it was asked, 0 or more.
    """
    known = 0.0 if confidence is None else confidence
    return (1.0 - known) + _TRAFFIC_WEIGHT * (1.0 - 1.0 / (1.0 + occurrences))


def score_sql(*, confidence: str, occurrences: str) -> str:
    """`score` as SQL over two SQL expressions; equal to the last bit."""
    return (
        f"(1.0::float8 - coalesce({confidence}, 0.0::float8))"
        f" + {_TRAFFIC_WEIGHT}::float8"
        f" * (1.0::float8 - 1.0::float8 / (1.0::float8 + {occurrences}))"
    )


def score_expression() -> Combinable:
    """`score` of a question's own columns, for `update` and `annotate`."""
    asked = Cast(F("occurrences"), FloatField())
    known = Coalesce(F("confidence"), 0.0, output_field=FloatField())
    return (Value(1.0) - known) + Value(_TRAFFIC_WEIGHT) * (
        Value(1.0) - Value(1.0) / (Value(1.0) + asked)
    )
