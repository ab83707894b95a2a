"""Text search: finds any part, in either language, and says where it stopped."""

import pytest

from labeling.formats import Row
from labeling.intake import import_rows
from labeling.models import Question, SearchText
from labeling.search import substrings
from tests.makers import make_project, make_question

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def found(project, text, **limits):
    result = substrings.find(
        Question.objects.all(), text, projects=[project.pk], **limits
    )
    return {question.text for question in result.questions}


def test_any_part_in_either_language(project):
    make_question(project, "怎么修改登录密码？")
    make_question(project, "How do I change my Password?")
    make_question(project, "ＶＰＮ 连不上")
    make_question(make_project(), "密码 of another project")
    assert found(project, "密码") == {"怎么修改登录密码？"}
    assert found(project, "ssword") == {"How do I change my Password?"}
    assert found(project, "PASSWORD how") == {"How do I change my Password?"}
    assert found(project, "vpn") == found(project, "Ｖpn　连") == {"ＶＰＮ 连不上"}
    assert found(project, "密 码") == {"怎么修改登录密码？"}
    assert found(project, "nowhere") == set()
    assert len(found(project, "  ")) == 4, "no words: nothing is left out"


@pytest.mark.parametrize("text", ["100%", "a_b", r"c:\temp", "it's", "%s %(x)s"])
def test_signs_mean_themselves(project, text):
    make_question(project, f"say {text} now")
    make_question(project, "say 1000 axb c:temp now")
    assert found(project, f"{text}\0") == {f"say {text} now"}


def test_the_filters_that_are_set_stay(project):
    make_question(project, "pay now", state="skipped")
    make_question(project, "pay later")
    result = substrings.find(Question.objects.open(), "pay", projects=[project.pk])
    assert [question.text for question in result.questions] == ["pay later"]


def test_all_ways_in_are_searched(project):
    import_rows(project, [Row(1, "imported one")])
    question = make_question(project, "by hand")
    assert found(project, "imported") == {"imported one"}
    Question.objects.filter(pk=question.pk).update(text="by Ｈｅａｒｔ")
    assert found(project, "heart") == {"by Ｈｅａｒｔ"}
    question.delete()
    assert found(project, "heart") == set()
    assert SearchText.objects.count() == 1


def test_only_the_newest_of_many(project, monkeypatch):
    monkeypatch.setattr(substrings, "MOST", 3)
    monkeypatch.setattr(substrings, "STRIDE", 2)
    texts = [f"pay {n}" for n in range(5)]
    for text in texts:
        make_question(project, text)
    result = substrings.find(Question.objects.all(), "pay", projects=[project.pk])
    assert {question.text for question in result.questions} == set(texts[2:])
    assert result.is_capped
    assert not result.is_cut
    result = substrings.find(Question.objects.all(), "pay 0", projects=[project.pk])
    assert [question.text for question in result.questions] == ["pay 0"]
    assert not result.is_capped


def test_out_of_time_it_says_so(project):
    make_question(project, "pay")
    result = substrings.find(
        Question.objects.all(), "pay", projects=[project.pk], budget_s=-1
    )
    assert result.is_cut
    assert not result.questions.exists()


def test_a_project_without_questions(project):
    assert found(project, "pay") == set()
    assert found(make_project(), "pay") == set()
