"""Admin pages of the team's presets and of the gate's rules: who may do what."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from labeling.models import Project
from tests.makers import make_person, make_project
from tests.training.forms import filled
from tests.training.makers import make_batch, make_trainable
from tests.training.test_pages import as_person, page
from training import explain
from training.models import GateRules, Preset
from training.recipe import PRESETS

pytestmark = pytest.mark.django_db

PRESET_LIST = "/admin/training/preset/"
RULES_LIST = "/admin/training/gaterules/"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def mia(project: Project) -> Client:
    return as_person(make_person("mia", project))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (PRESET_LIST, "No presets of your own here."),
        (RULES_LIST, "the gate judges by its defaults."),
        ("/admin/training/trainingbatch/", "Nothing was trained here yet."),
        ("/admin/registry/version/", "No versions here."),
    ],
)
def test_an_empty_list_says_what_belongs_there(
    mia: Client, path: str, says: str
) -> None:
    assert says in page(mia, path)


def form_of_preset(name: str = "careful", on: str = "first", **values: Any) -> Any:
    """What the page of a preset posts."""
    asked = filled(on, **values)
    del asked["preset"], asked["recipe_of"]
    return {**asked, "name": name, "built_on": on, "description": "Slowly."}


def form_of_rules(project: Project | None = None, **values: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "min_test_questions": "50",
        "beats_floor": "on",
        "max_macro_f1_loss": "0.01",
        "max_intent_loss": "",
        "max_forgetting": "0.02",
        "max_calibration_loss": "0.02",
        "max_out_of_scope_loss": "0.02",
        "min_agreement": "0.95",
        **values,
    }
    return asked if project is None else {**asked, "project": project.pk}


def other_manager(project: Project) -> Client:
    from labeling import access

    person = User.objects.create(username="max")
    access.sync_groups()
    access.add_member(project, person, role="manager")
    return as_person(person)


# --- Presets --------------------------------------------------------------------------


def test_a_manager_adds_a_preset_from_a_built_in_one(mia: Client) -> None:
    html = page(mia, f"{PRESET_LIST}add/?copy=incremental")
    for name in ("encoder_lr", "replay", "batch_size"):
        value = explain.number(getattr(PRESETS["incremental"], name))
        assert re.search(rf'<input[^>]*value="{value}"[^>]*id="id_{name}"', html), name
    assert '<option value="incremental" selected>' in html
    asked = form_of_preset(on="incremental", replay="9", freeze_embeddings=None)
    answer = mia.post(f"{PRESET_LIST}add/", asked)
    assert answer.status_code == 302, answer.content.decode()[-5000:]
    preset = Preset.objects.get()
    changed = {"replay": 9.0, "freeze_embeddings": False}
    assert preset.recipe == {**PRESETS["incremental"].to_dict(), **changed}
    assert (preset.name, preset.built_on) == ("careful", "incremental")
    assert preset.created_by is not None
    assert preset.created_by.username == "mia"
    html = page(mia, PRESET_LIST)
    assert '<span class="tl-code">freeze_embeddings</span>' in html
    assert '<span class="tl-code">epochs</span>' not in html


def test_an_own_preset_is_changed_and_copied(mia: Client) -> None:
    mia.post(f"{PRESET_LIST}add/", form_of_preset(epochs="9"))
    preset = Preset.objects.get()
    path = f"{PRESET_LIST}{preset.pk}/change/"
    assert 'name="epochs" value="9"' in page(mia, path)
    mia.post(path, form_of_preset(epochs="8"))
    preset.refresh_from_db()
    assert preset.recipe["epochs"] == 8
    assert 'name="epochs" value="8"' in page(mia, f"{PRESET_LIST}add/?copy=careful")
    mia.post(f"{PRESET_LIST}{preset.pk}/delete/", {"post": "yes"})
    assert not Preset.objects.exists()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"min_steps": "9", "max_steps": "5"}, "Less than the steps at least"),
        ({"quantised": "on"}, "set their rank above 0"),
        ({"frozen_layers": "-1"}, "such as 2/3"),
        ({"name": "lora"}, "A built-in preset has this name"),
        ({"name": "9lives"}, "Begins with a small letter"),
        ({"built_on": "best"}, "Select a valid choice"),
    ],
)
def test_a_preset_that_cannot_train_is_not_kept(
    mia: Client, values: dict[str, Any], says: str
) -> None:
    answer = mia.post(f"{PRESET_LIST}add/", {**form_of_preset(), **values})
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert not Preset.objects.exists()


def test_a_preset_of_another_release_can_be_mended(mia: Client) -> None:
    preset = Preset.objects.create(
        name="old",
        built_on="first",
        recipe={"since_forgotten": 1, "epochs": 6},
        created_by=User.objects.get(username="mia"),
    )
    path = f"{PRESET_LIST}{preset.pk}/change/"
    assert 'name="epochs" value="6"' in page(mia, path)
    page(mia, PRESET_LIST)
    mia.post(path, form_of_preset("old"))
    preset.refresh_from_db()
    assert preset.recipe == PRESETS["first"].to_dict()


def test_others_look_at_a_preset_and_leave_it_alone(
    project: Project, mia: Client
) -> None:
    mia.post(f"{PRESET_LIST}add/", form_of_preset())
    preset = Preset.objects.get()
    path = f"{PRESET_LIST}{preset.pk}/change/"
    other = other_manager(make_project())
    assert "careful" in page(other, path)
    assert other.post(path, form_of_preset(epochs="8")).status_code == 403
    assert other.post(f"{path[:-7]}delete/", {"post": "yes"}).status_code == 403
    for name in ("ann", "rex", "out"):
        client = as_person(make_person(name, None if name == "out" else project))
        for where in (PRESET_LIST, f"{PRESET_LIST}add/", path):
            assert client.get(where).status_code in (302, 403), (name, where)
    root = as_person(User.objects.create_superuser("root"))
    assert root.post(path, form_of_preset(epochs="8")).status_code == 302
    preset.refresh_from_db()
    assert preset.recipe["epochs"] == 8


def test_a_batch_keeps_its_recipe_when_the_preset_goes(mia: Client, base: str) -> None:
    mia.post(f"{PRESET_LIST}add/", form_of_preset(epochs="9"))
    batch = make_batch(make_trainable(), base, preset="careful", epochs=9)
    mia.post(f"{PRESET_LIST}{Preset.objects.get().pk}/delete/", {"post": "yes"})
    batch.refresh_from_db()
    assert batch.recipe["epochs"] == 9


# --- The gate's rules -----------------------------------------------------------------


def test_a_manager_sets_the_rules_of_the_project(project: Project, mia: Client) -> None:
    answer = mia.get(f"/train/{project.slug}/gate/")
    assert answer["Location"] == f"{RULES_LIST}add/?project={project.pk}"
    html = page(mia, answer["Location"])
    assert f'<option value="{project.pk}" selected>' in html
    for words in ("Must beat the floor", "0.98 are 98 of 100", "Empty: not asked."):
        assert words in html
    assert mia.post(f"{RULES_LIST}add/", form_of_rules(project)).status_code == 302
    rules = GateRules.objects.get()
    assert rules.project == project
    assert (rules.min_test_questions, rules.max_intent_loss) == (50, None)
    answer = mia.get(f"/train/{project.slug}/gate/")
    assert answer["Location"] == f"{RULES_LIST}{rules.pk}/change/"
    mia.post(answer["Location"], form_of_rules(min_agreement="0.9"))
    rules.refresh_from_db()
    assert (rules.min_agreement, rules.project) == (0.9, project)
    # A project has one row: it is not offered again.
    html = page(mia, f"{RULES_LIST}add/")
    assert f'<option value="{project.pk}"' not in html
    mia.post(f"{RULES_LIST}{rules.pk}/delete/", {"post": "yes"})
    assert not GateRules.objects.exists()


@pytest.mark.parametrize(
    "values", [{"min_agreement": "98"}, {"max_forgetting": "-1"}, {"min_agreement": ""}]
)
def test_shares_are_between_0_and_1(
    project: Project, mia: Client, values: dict[str, str]
) -> None:
    answer = mia.post(f"{RULES_LIST}add/", form_of_rules(project, **values))
    assert answer.status_code == 200
    assert not GateRules.objects.exists()


def test_nobody_else_sees_or_sets_them(project: Project) -> None:
    rules = GateRules.objects.create(project=project)
    other = other_manager(elsewhere := make_project())
    path = f"{RULES_LIST}{rules.pk}/change/"
    assert other.get(path).status_code == 302  # as if there were none
    assert str(project) not in page(other, RULES_LIST)
    other.post(path, form_of_rules())
    other.post(f"{RULES_LIST}add/", form_of_rules(make_project()))
    rules.refresh_from_db()
    assert rules.min_test_questions == 20
    assert GateRules.objects.count() == 1
    page(other, f"/train/{project.slug}/gate/", 404)
    assert other.get(f"/train/{elsewhere.slug}/gate/").status_code == 302
    for name in ("ann", "rex"):
        client = as_person(make_person(name, project))
        assert client.get(RULES_LIST).status_code == 403
        assert client.get(path).status_code == 403


def test_ways_lead_there_from_the_project_and_the_sidebar(
    project: Project, mia: Client
) -> None:
    html = page(mia, f"/admin/labeling/project/{project.pk}/change/")
    assert f"/train/{project.slug}/gate/" in html
    assert RULES_LIST in html
    assert PRESET_LIST in html
    rex = as_person(make_person("rex", project))
    html = page(rex, f"/admin/labeling/project/{project.pk}/change/")
    assert "/gate/" not in html
    assert PRESET_LIST not in html
