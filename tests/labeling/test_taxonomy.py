"""The label set's changes, and old codes that go on working."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.utils import timezone

from labeling import taxonomy
from labeling.models import Intent, IntentAlias, Project
from labeling.taxonomy import UnknownIntent
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_rule,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def mia(project):
    return make_person("mia", project)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay")


def revision_of(project):
    return Project.objects.get(pk=project.pk).serving_revision


def test_rename_keeps_the_old_code_as_an_alias(project, mia, pay):
    renamed = taxonomy.rename(pay, code=" payment ", by=mia)
    assert (renamed.pk, renamed.code) == (pay.pk, "payment")
    alias = IntentAlias.objects.get()
    assert (alias.code, alias.intent, alias.created_by) == ("pay", pay, mia)
    assert taxonomy.resolve_codes(project, ["pay"]) == [pay]
    assert taxonomy.resolve_codes(project, ["payment"]) == [pay]


def test_rename_is_audited_and_told_to_serving(project, mia, pay):
    before = revision_of(project)
    taxonomy.rename(pay, code="payment", by=mia)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (mia, str(pay.pk))
    assert "pay to payment" in entry.change_message
    assert revision_of(project) == before + 1


def test_renaming_to_the_same_code_changes_nothing(project, mia, pay):
    taxonomy.rename(pay, code="pay", by=mia)
    assert not IntentAlias.objects.exists()
    assert not LogEntry.objects.exists()


def test_renaming_back_swaps_code_and_alias(project, mia, pay):
    for code in ("payment", "pay", "payment"):
        taxonomy.rename(pay, code=code, by=mia)
    assert IntentAlias.objects.get().code == "pay"
    assert Intent.objects.get().code == "payment"


@pytest.mark.parametrize("code", ["", "  ", "x" * 101, "stock", "former"])
def test_a_code_that_cannot_be(project, mia, pay, code):
    stock = make_intent(project, "stock")
    IntentAlias.objects.create(project=project, code="former", intent=stock)
    with pytest.raises(ValidationError):
        taxonomy.rename(pay, code=code, by=mia)
    assert Intent.objects.get(pk=pay.pk).code == "pay"
    assert IntentAlias.objects.count() == 1


def test_the_same_code_in_another_project_is_free(mia, pay):
    make_intent(make_project(), "payment")
    assert taxonomy.rename(pay, code="payment", by=None).code == "payment"


def test_resolve_keeps_the_order_and_drops_repeats(project, mia, pay):
    stock = make_intent(project, "stock")
    taxonomy.rename(stock, code="stocks", by=mia)
    codes = ["stock", "pay", "stocks", "pay"]
    assert taxonomy.resolve_codes(project, codes) == [stock, pay]
    assert taxonomy.resolve_codes(project, []) == []


def test_resolve_names_all_unknown_codes(project, pay):
    make_intent(make_project(), "foreign")
    make_intent(project, "gone", retired_at=timezone.now())
    with pytest.raises(UnknownIntent) as caught:
        taxonomy.resolve_codes(project, ["pay", "foreign", "gone", "PAY"])
    assert caught.value.codes == ["foreign", "gone", "PAY"]
    assert "foreign" in str(caught.value)


def test_an_alias_of_a_retired_intent_is_unknown(project, mia, pay):
    taxonomy.rename(pay, code="payment", by=mia)
    taxonomy.retire(pay, by=mia)
    with pytest.raises(UnknownIntent):
        taxonomy.resolve_codes(project, ["pay"])


def test_resolve_costs_one_query_or_two(project, pay, django_assert_num_queries):
    IntentAlias.objects.create(project=project, code="former", intent=pay)
    with django_assert_num_queries(1):
        taxonomy.resolve_codes(project, ["pay"])
    with django_assert_num_queries(2):
        taxonomy.resolve_codes(project, ["former"])


def test_retire_keeps_labels_and_switches_rules_off(project, mia, pay):
    make_labelled(project, pay)
    rule = make_rule(project, "invoice", pay)
    before = revision_of(project)
    retired = taxonomy.retire(pay, by=mia)
    assert retired.retired_at is not None
    rule.refresh_from_db()
    assert (rule.state, rule.decided_by) == ("disabled", mia)
    assert pay.gold_labels.count() == 1
    assert revision_of(project) == before + 1
    again = taxonomy.retire(pay, by=mia)
    assert again.retired_at == retired.retired_at
    assert LogEntry.objects.count() == 1


def test_the_fallback_cannot_retire(project, mia):
    none = make_intent(project, "none", is_fallback=True)
    with pytest.raises(ValidationError, match="fallback"):
        taxonomy.retire(none, by=mia)


def test_restore(project, mia, pay):
    taxonomy.retire(pay, by=mia)
    assert taxonomy.restore(pay, by=mia).retired_at is None
    assert taxonomy.resolve_codes(project, ["pay"]) == [pay]
    assert LogEntry.objects.count() == 2
