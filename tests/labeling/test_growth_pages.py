"""Pages of slots, templates and synthetic questions: what they do, and who may."""

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from labeling import datasets, growth
from labeling.models import (
    DatasetItem,
    Intent,
    Paraphrasing,
    Project,
    Slot,
    SyntheticQuestion,
    Template,
)
from labeling.normalise import text_hash
from tests.labeling.pages import list_url, page_url, signed_in
from tests.makers import make_intent, make_labelled, make_person, make_project

pytestmark = pytest.mark.django_db

MAKE = reverse("admin:labeling_syntheticquestion_make")
PARAPHRASE = reverse("admin:labeling_syntheticquestion_paraphrase")


@pytest.fixture
def project() -> Project:
    project = make_project(name="Ours")
    Slot.objects.create(project=project, name="dish", values="noodles\nduck\nlasagne")
    make_intent(project, "order")
    return project


@pytest.fixture
def order(project: Project) -> Intent:
    return Intent.objects.get(project=project, code="order")


@pytest.fixture
def mia(project: Project) -> Client:
    return signed_in("mia", project)


def read(response: Any) -> str:
    """A page's words, without its tags."""
    assert response.status_code == 200
    text = re.sub(
        r"<(script|style).*?</\1>", " ", response.content.decode(), flags=re.S
    )
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def synthetic(intent: Intent, *texts: str, **values: Any) -> None:
    for text in texts:
        SyntheticQuestion.objects.create(
            project=intent.project,
            intent=intent,
            text=text,
            text_hash=text_hash(text),
            **{"origin": "paraphrase", **values},
        )


class TestWho:
    @pytest.mark.parametrize("name", ["ann", "rex"])
    @pytest.mark.parametrize(
        "url",
        [
            MAKE,
            PARAPHRASE,
            *map(list_url, (Slot, Template, SyntheticQuestion, Paraphrasing)),
        ],
    )
    def test_managers_alone(self, project: Project, name: str, url: str) -> None:
        assert signed_in(name, project).get(url).status_code == 403
        assert signed_in("mia", project).get(url).status_code == 200

    def test_each_manager_sees_their_own_project(self, mia: Client) -> None:
        other = make_intent(make_project(), "theirs")
        synthetic(other, "their synthetic question")
        Template.objects.create(intent=other, text="their template")
        Slot.objects.create(project=other.project, name="theirs", values="x")
        for model in (Slot, Template, SyntheticQuestion):
            assert "their" not in read(mia.get(list_url(model)))
        assert mia.get(f"{MAKE}?project={other.project_id}").status_code == 403
        mia.post(
            list_url(SyntheticQuestion),
            {
                "action": "delete_many",
                "select_across": "1",
                "confirm": "1",
                "_selected_action": [SyntheticQuestion.objects.get().pk],
            },
        )
        assert SyntheticQuestion.objects.count() == 1


class TestSlots:
    def test_values_are_cleaned(self, mia: Client, project: Project) -> None:
        url = reverse("admin:labeling_slot_add")
        mia.post(
            url,
            {"project": project.pk, "name": "城市", "values": " 北京 \n\n上海\n北京"},
        )
        assert Slot.objects.get(name="城市").values == "北京\n上海"
        page = read(mia.get(list_url(Slot)))
        assert "{城市}" in page
        assert "北京, 上海" in page

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ("  \n ", "This field is required"),
            ("\n".join(map(str, range(5001))), "5001"),
        ],
    )
    def test_none_or_too_many(
        self, mia: Client, project: Project, values: str, says: str
    ) -> None:
        url = reverse("admin:labeling_slot_add")
        data = {"project": project.pk, "name": "x", "values": values}
        assert says in read(mia.post(url, data))
        assert not Slot.objects.filter(name="x").exists()

    def test_one_that_templates_hold_stays(self, mia: Client, order: Intent) -> None:
        Template.objects.create(intent=order, text="bring {dish}")
        slot = Slot.objects.get()
        page = mia.get(page_url(slot, "delete"))
        assert "Template: bring {dish}" in read(page)
        mia.post(page_url(slot, "delete"), {"post": "yes"})
        assert Slot.objects.exists()
        Template.objects.all().delete()
        mia.post(page_url(slot, "delete"), {"post": "yes"})
        assert not Slot.objects.exists()


class TestTemplates:
    def test_several_at_once(self, mia: Client, order: Intent) -> None:
        Template.objects.create(intent=order, text="duck please")
        text = "bring  {dish}\n\n来一份{dish}\nduck please\nbring {dish}"
        url = reverse("admin:labeling_template_add")
        page = mia.post(url, {"intent": order.pk, "text": text}, follow=True)
        assert "2 templates added" in read(page)
        made = order.templates.exclude(text="duck please").order_by("pk")
        assert [one.text for one in made] == ["bring {dish}", "来一份{dish}"]
        assert {one.created_by.username for one in made} == {"mia"}  # type: ignore[union-attr]
        listed = read(mia.get(list_url(Template)))
        assert "来一份{dish}" in listed

    def test_what_is_wrong_is_said_and_nothing_written(
        self, mia: Client, order: Intent
    ) -> None:
        url = reverse("admin:labeling_template_add")
        text = "bring {dish}\nbring {wine}\nbring {dish"
        page = read(mia.post(url, {"intent": order.pk, "text": text}))
        assert "bring {wine}: There is no slot “wine” here." in page
        assert "The brace before “dish” is not closed" in page
        assert not Template.objects.exists()

    def test_its_page_shows_fillings(self, mia: Client, order: Intent) -> None:
        template = Template.objects.create(intent=order, text="bring {dish} now")
        page = read(mia.get(page_url(template)))
        for dish in ("noodles", "duck", "lasagne"):
            assert f"bring {dish} now" in page
        mia.post(page_url(template), {"text": "{dish} at once"})
        template.refresh_from_db()
        assert template.text == "{dish} at once"
        Slot.objects.all().delete()
        page = read(mia.get(page_url(template)))
        assert "cannot be filled There is no slot “dish” here." in page
        assert "cannot be filled" in read(mia.get(list_url(Template)))

    def test_retired_intents_get_none(self, mia: Client, project: Project) -> None:
        gone = make_intent(project, "gone", retired_at="2026-01-01T00:00Z")
        url = reverse("admin:labeling_template_add")
        assert "gone" not in read(mia.get(url))
        mia.post(url, {"intent": gone.pk, "text": "bring {dish}"})
        assert not Template.objects.exists()

    def test_deleting_one_says_what_goes_along(
        self, mia: Client, order: Intent
    ) -> None:
        template = Template.objects.create(intent=order, text="bring {dish} now")
        growth.fill(order.project, by=None)
        page = read(mia.get(page_url(template, "delete")))
        assert re.search(r"[Ss]ynthetic questions:? 3", page)
        mia.post(page_url(template, "delete"), {"post": "yes"})
        assert not SyntheticQuestion.objects.exists()

    def test_the_list_costs_the_same_for_many(
        self, mia: Client, order: Intent, django_assert_max_num_queries: Any
    ) -> None:
        def queries() -> int:
            with django_assert_max_num_queries(40) as context:
                mia.get(list_url(Template))
            return len(context)

        Template.objects.create(intent=order, text="bring {dish}")
        few = queries()
        for n in range(30):
            Template.objects.create(intent=order, text=f"bring {{dish}} {n}")
        assert queries() <= few


class TestMake:
    def test_without_templates_it_says_what_to_do(self, mia: Client) -> None:
        assert "no templates yet" in read(mia.get(MAKE))
        assert (
            "no templates" in read(mia.post(MAKE, {"per_intent": 5, "seed": 1})).lower()
        )

    def test_a_look_writes_nothing_and_the_deed_does_what_was_shown(
        self, mia: Client, order: Intent
    ) -> None:
        Template.objects.create(intent=order, text="bring {dish} now")
        data = {"per_intent": 2, "seed": 7}
        page = mia.post(MAKE, data)
        assert "2 questions would be made" in read(page)
        assert "Nothing is written yet" in read(page)
        assert not SyntheticQuestion.objects.exists()
        said = page.context["said"]
        # What was changed since is shown anew.
        again = mia.post(MAKE, {**data, "per_intent": 3, "confirmed": said})
        assert "3 questions would be made" in read(again)
        assert not SyntheticQuestion.objects.exists()
        done = mia.post(MAKE, {**data, "confirmed": said}, follow=True)
        assert "2 synthetic questions made." in read(done)
        made = set(SyntheticQuestion.objects.values_list("text", flat=True))
        assert made == {one.text for one in page.context["shown"].examples}

    def test_only_the_chosen_intents(self, mia: Client, order: Intent) -> None:
        Template.objects.create(intent=order, text="bring {dish} now")
        pay = make_intent(order.project, "pay")
        Template.objects.create(intent=pay, text="pay the {dish}")
        data = {"intents": [pay.pk], "per_intent": 5, "seed": 1}
        said = mia.post(MAKE, data).context["said"]
        mia.post(MAKE, {**data, "confirmed": said})
        assert set(SyntheticQuestion.objects.values_list("intent", flat=True)) == {
            pay.pk
        }

    def test_a_manager_of_several_chooses(self, mia: Client, project: Project) -> None:
        other = make_project(name="Second")
        make_person("mia", other)
        page = read(mia.get(MAKE))
        assert "In which project?" in page
        assert "Second" in page
        assert "Questions an intent" not in page
        assert mia.get(f"{MAKE}?project={other.pk}").context["project"] == other

    def test_too_much_is_refused(self, mia: Client, order: Intent) -> None:
        Template.objects.create(intent=order, text="bring {dish} now")
        page = read(mia.post(MAKE, {"per_intent": 100_000, "seed": 1}))
        assert "less than or equal to 1000" in page


class TestTheList:
    def test_it_says_what_to_do_first(self, mia: Client) -> None:
        assert "No synthetic questions here." in read(
            mia.get(list_url(SyntheticQuestion))
        )

    def test_filters(self, mia: Client, order: Intent) -> None:
        template = Template.objects.create(intent=order, text="a template")
        synthetic(order, "of a model", is_used=False)
        synthetic(order, "of a template", origin="template", template=template)
        pay = make_intent(order.project, "pay")
        synthetic(pay, "of another intent")

        def shown(query: str) -> set[str]:
            page = mia.get(f"{list_url(SyntheticQuestion)}?{query}")
            return {row.text for row in page.context["cl"].result_list}

        assert shown(f"intent={pay.pk}") == {"of another intent"}
        assert shown("origin__exact=template") == {"of a template"}
        assert shown("used=no") == {"of a model"}
        assert shown("used=yes") == {"of a template", "of another intent"}
        assert shown(f"template={template.pk}") == {"of a template"}
        assert shown("q=ANOTHER") == {"of another intent"}

    def test_switched_off_and_on_in_bulk(self, mia: Client, order: Intent) -> None:
        synthetic(order, "one", "two", "three")
        url = list_url(SyntheticQuestion)
        pks = list(SyntheticQuestion.objects.values_list("pk", flat=True))
        data = {"action": "do_not_use", "_selected_action": pks[:2]}
        assert "2 questions were switched off" in read(mia.post(url, data, follow=True))
        assert SyntheticQuestion.objects.filter(is_used=True).count() == 1
        data = {"action": "use", "_selected_action": pks[:1], "select_across": "1"}
        assert "2 questions are in use again" in read(mia.post(url, data, follow=True))

    def test_deleted_in_bulk_after_a_look(self, mia: Client, order: Intent) -> None:
        synthetic(order, "one", "two", "three")
        pay = make_intent(order.project, "pay")
        synthetic(pay, "stays")
        url = f"{list_url(SyntheticQuestion)}?intent={order.pk}"
        some = SyntheticQuestion.objects.filter(intent=order).values_list(
            "pk", flat=True
        )
        data = {
            "action": "delete_many",
            "_selected_action": some[:1],
            "select_across": "1",
        }
        page = read(mia.post(url, data))
        assert "3 synthetic questions are deleted" in page
        assert SyntheticQuestion.objects.count() == 4
        mia.post(url, {**data, "confirm": "1"})
        assert SyntheticQuestion.objects.get().text == "stays"

    def test_a_question_has_a_page(self, mia: Client, order: Intent) -> None:
        synthetic(order, "one")
        page = read(mia.get(page_url(SyntheticQuestion.objects.get())))
        assert "language model" in page

    def test_many_rows_are_neither_counted_nor_walked(
        self, mia: Client, order: Intent, django_assert_max_num_queries: Any
    ) -> None:
        SyntheticQuestion.objects.bulk_create(
            SyntheticQuestion(
                project=order.project,
                intent=order,
                text=f"row {n}",
                text_hash=str(n),
                origin="paraphrase",
            )
            for n in range(10_050)
        )
        with django_assert_max_num_queries(25):
            page = mia.get(list_url(SyntheticQuestion))
        assert page.context["cl"].result_count == 10_000


class TestParaphrases:
    def test_off_it_says_how_to_turn_it_on(self, mia: Client, order: Intent) -> None:
        make_labelled(order.project, order, "where is my soup", split="train")
        page = read(mia.get(PARAPHRASE))
        assert "TUNELOOP_LLM_URL" in page
        assert "Show what it does" not in page
        data = {"per_question": 2, "limit": 5}
        assert "No language model" in read(mia.post(PARAPHRASE, data))

    def test_what_leaves_the_house_is_said_first(
        self, mia: Client, order: Intent, settings: Any
    ) -> None:
        settings.LLM_URL = "https://user:secret@models.example:8443/v1"
        settings.LLM_MODEL = "tiny"
        make_labelled(order.project, order, "where is my soup", split="train")
        make_labelled(order.project, order, "a test question", split="test")
        page = read(mia.get(PARAPHRASE))
        assert "tiny at models.example:8443" in page
        assert "Texts of your users are sent to that server." in page
        data = {"per_question": 2, "limit": 5}
        shown = mia.post(PARAPHRASE, data)
        assert "1 question would leave this house for models.example:8443" in read(
            shown
        )
        assert "where is my soup" in read(shown)
        assert "a test question" not in read(shown)
        assert "secret" not in shown.content.decode()
        assert not Paraphrasing.objects.exists()
        confirmed = {**data, "confirmed": shown.context["said"]}
        done = read(mia.post(PARAPHRASE, confirmed, follow=True))
        assert "0 of 1" in done
        run = Paraphrasing.objects.get()
        assert (run.state, run.by.username) == ("queued", "mia")
        assert "not finished yet" in read(mia.post(PARAPHRASE, confirmed))

        live = reverse("admin:labeling_paraphrasing_live", args=[run.pk])
        assert "0 of 1" in read(mia.get(f"{live}?state=queued"))
        assert mia.get(f"{live}?state=running").headers["HX-Refresh"] == "true"
        cancel = reverse("admin:labeling_paraphrasing_cancel", args=[run.pk])
        assert "Cancelled." in read(mia.post(cancel, follow=True))
        assert "finished already" in read(mia.post(cancel, follow=True))
        assert "tiny" in read(mia.get(list_url(Paraphrasing)))

    def test_somebody_elses_is_out_of_sight(self, mia: Client) -> None:
        theirs = make_project()
        run = Paraphrasing.objects.create(
            project=theirs, per_question=1, questions=[], by=make_person("out")
        )
        assert mia.get(page_url(run)).status_code == 404


def test_datasets_mark_what_is_synthetic(mia: Client, order: Intent) -> None:
    make_labelled(order.project, order, "where is my soup", split="train")
    synthetic(order, "the soup is late")
    datasets.freeze(order.project, by=None, with_synthetic=True)
    page = read(mia.get(list_url(DatasetItem)))
    assert "the soup is late synthetic" in page
    assert "where is my soup synthetic" not in page
    for query, text in (
        ("synthetic", "the soup is late"),
        ("asked", "where is my soup"),
    ):
        rows = (
            mia.get(f"{list_url(DatasetItem)}?made={query}").context["cl"].result_list
        )
        assert [row.text for row in rows] == [text]
