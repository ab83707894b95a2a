"""The floor: counting words, against scikit-learn's own solvers."""

import time
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from tests.training.ml.makers import TOPICS, make_examples
from training.ml.interface import Example
from training.statistics import floor


def rows(count: int = 200, seed: int = 0) -> list[Example]:
    return make_examples(count, topics=tuple(TOPICS), seed=seed)


def trained(examples: list[Example], *, multi: bool = False) -> floor.Floor:
    found = floor.train(examples, multi=multi)
    assert found is not None
    return found


def guesses(found: floor.Floor, examples: list[Example]) -> list[str]:
    logits = found.logits([row.text for row in examples])
    return [found.labels[best] for best in logits.argmax(axis=1)]


def test_it_learns_what_words_say() -> None:
    found = trained(rows(200))
    asked = rows(100, seed=5)
    given = guesses(found, asked)
    right = [row.labels == (one,) for row, one in zip(asked, given, strict=True)]
    assert np.mean(right) > 0.9
    assert found.seconds > 0


def test_it_is_scikit_learns_logistic_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(floor, "STEPS", 500)
    examples = rows(120)
    found = trained(examples)
    x = found._features.transform([row.text for row in examples])
    own = LogisticRegression(C=floor.C, max_iter=5000, tol=1e-8)
    own.fit(x, [row.labels[0] for row in examples])
    asked = rows(60, seed=4)
    logits = found.logits([row.text for row in asked])
    theirs = own.decision_function(
        found._features.transform([row.text for row in asked])
    )
    # A softmax does not feel a constant added to all logits of a row.
    centred = [z - z.mean(axis=1, keepdims=True) for z in (logits, theirs)]
    assert np.abs(centred[0] - centred[1]).max() < 0.05


def test_several_intents_are_one_against_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(floor, "STEPS", 500)
    one, two = rows(80, seed=1), rows(80, seed=2)
    examples = [
        Example(f"{a.text} {b.text}", tuple(sorted({*a.labels, *b.labels})))
        for a, b in zip(one, two, strict=True)
    ] + [Example("nothing of the kind", ())]
    found = trained(examples, multi=True)
    wanted = np.array([[c in row.labels for c in found.labels] for row in examples])
    x = found._features.transform([row.text for row in examples])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = OneVsRestClassifier(LogisticRegression(C=floor.C, max_iter=5000))
        own.fit(x, wanted)
    logits = found.logits([row.text for row in examples])
    assert np.abs(logits - own.decision_function(x)).max() < 0.1
    assert ((logits > 0) == wanted).all(axis=1).mean() > 0.9


def test_chinese_needs_no_spaces() -> None:
    examples = [
        Example(text, (label,))
        for label, texts in {
            "weather": ("今天天气怎么样", "明天会下雨吗", "外面天气冷不冷"),
            "music": ("放一首歌", "我想听音乐", "换一首歌听听"),
        }.items()
        for text in texts
    ]
    found = trained(examples)
    asked = [Example("后天天气好吗", ()), Example("来一首歌", ())]
    assert guesses(found, asked) == ["weather", "music"]


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [Example("only one", ("stock",)), Example("and again", ("stock",))],
        [Example("", ("stock",)), Example("", ("payment",))],
    ],
)
def test_from_nothing_comes_no_floor(examples: list[Example]) -> None:
    assert floor.train(examples, multi=False) is None


def test_who_waits_can_stop_it() -> None:
    asked_at: list[float] = []

    class Stopped(Exception):
        pass

    def check() -> None:
        asked_at.append(time.monotonic())
        if len(asked_at) == 6:
            raise Stopped

    with pytest.raises(Stopped):
        floor.train(rows(200), multi=False, check=check)


def test_it_ends_when_its_time_is_over() -> None:
    found = floor.train(rows(200), multi=False, budget_s=0.0)
    assert found is not None
    assert found.steps == 1


def test_many_rows_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "MAX_ROWS", 50)
    examples = rows(120)
    # What only the second and third of three rows say is not learned.
    examples[1::3] = [Example(row.text, ("other",)) for row in examples[1::3]]
    examples[2::3] = [Example(row.text, ("other",)) for row in examples[2::3]]
    assert "other" not in trained(examples).labels


def test_it_answers_nothing_to_nothing() -> None:
    found = trained(rows(60))
    assert found.logits([]).shape == (0, len(found.labels))
