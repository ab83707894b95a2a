"""From a click to a judged version, in Chromium, with a real worker."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from playwright.sync_api import Page, expect

from tests.browser.boxes import swiped
from tests.makers import make_person
from tests.training.makers import QUICK, make_batch, make_trainable, tiny_base
from training.batches import ownership
from training.models import TrainingBatch

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenAs = Callable[..., Page]


@pytest.fixture
def worker(manage: list[str], process_env: dict[str, str]) -> Iterator[None]:
    """A worker in a process of its own, on this test's database."""
    process = subprocess.Popen(
        [*manage, "rqworker", "training", "default", "-v", "0"],
        env={**process_env, "OMP_NUM_THREADS": "1"},
    )
    yield
    process.kill()
    process.wait()
    for name in ("training", "default"):
        django_rq.get_queue(name).empty()


@pytest.mark.slow
def test_a_manager_trains_a_version_by_click(
    open_as: OpenAs, worker: None, tmp_path: Path
) -> None:
    project = make_trainable(name="Factory")
    page = open_as(make_person("mia", project), "/admin/training/trainingbatch/")
    page.get_by_role("link", name="Train Factory").click()
    page.get_by_role("radio", name="In full, from the base model").check()
    expect(page.get_by_text("Enough labels for a training.")).to_be_visible()
    page.locator("#train-options summary").click()
    page.get_by_role("textbox", name="Base model").fill(tiny_base(tmp_path))
    page.get_by_text("All values of the recipe").click()
    fill_recipe(page, QUICK)
    page.get_by_role("button", name="Start training…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("84 questions to learn from")
    expect(dialog).to_contain_text("In full, from the base model")
    expect(dialog).to_contain_text(f"Passes: {QUICK['epochs']} instead of 4")
    dialog.get_by_role("button", name="Start training").click()

    expect(page).to_have_url(re.compile(r"/train/batches/\d+/$"))
    # No reload by hand: the page polls, and asks for itself anew at the end.
    expect(page.get_by_text("Measured on 24 test questions.")).to_be_visible(
        timeout=120_000
    )
    batch = TrainingBatch.objects.get()
    assert (batch.state, batch.error) == ("succeeded", "")
    assert page.locator("svg.tl-chart").count() == 2
    page.get_by_role("link", name="Activate").click()
    page.get_by_role("button", name="Activate v1").click()
    expect(page.get_by_text("serves now")).to_be_visible()


def fill_recipe(page: Page, values: dict[str, str]) -> None:
    """Types values into the recipe's form, as a manager does."""
    for name, value in values.items():
        field = page.locator(f"#recipe [name={name}]")
        field.fill(value)
        field.press("Tab")


def test_a_preset_is_chosen_changed_and_started(
    open_as: OpenAs, tmp_path: Path
) -> None:
    project = make_trainable()
    page = open_as(make_person("mia", project), f"/train/{project.slug}/")
    page.get_by_role("radio", name="Low-rank adapters").check()
    outlook = page.locator("#outlook")
    expect(outlook).to_contain_text("Low-rank adapters")
    page.get_by_text("All values of the recipe").click()
    expect(page.locator("#recipe [name=lora_rank]")).to_have_value("16")

    page.get_by_role("radio", name="Few labels an intent").check()
    expect(outlook).to_contain_text("Few labels an intent")
    expect(page.locator("#recipe [name=lora_rank]")).to_have_value("0")
    expect(page.locator(".tl-knob-changed")).to_have_count(0)
    fill_recipe(page, {"epochs": "3", "seed": "7"})
    expect(page.locator(".tl-knob-changed")).to_have_count(2)
    expect(page.locator("[data-changed-count]")).to_have_text("2")
    expect(outlook).to_contain_text("Seed: 7 instead of 13")
    # Back, and changed again: what is wrong is said before the click.
    page.get_by_text("Back to the preset’s values").click()
    expect(page.locator(".tl-knob-changed")).to_have_count(0)
    expect(outlook).not_to_contain_text("instead of")
    fill_recipe(page, {"epochs": "0"})
    expect(outlook).to_contain_text("Passes: Ensure this value is greater")
    fill_recipe(page, {"epochs": "3"})
    expect(outlook).to_contain_text("Passes: 3 instead of")

    page.locator("#train-options summary").click()
    page.get_by_role("textbox", name="Base model").fill(tiny_base(tmp_path))
    page.get_by_role("button", name="Start training…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Passes: 3 instead of")
    dialog.get_by_role("button", name="Start training").click()
    expect(page).to_have_url(re.compile(r"/train/batches/\d+/$"))
    page.get_by_text("1 value differs from the preset").click()
    expect(page.get_by_text("preset: 10")).to_be_visible()
    batch = TrainingBatch.objects.get()
    assert (batch.preset, batch.recipe["epochs"]) == ("few-shot", 3)
    assert batch.recipe["seed"] == 13
    django_rq.get_queue("training").empty()


def test_without_a_script_the_form_works(open_as: OpenAs, tmp_path: Path) -> None:
    project = make_trainable()
    path = f"/train/{project.slug}/"
    page = open_as(make_person("mia", project), path, java_script_enabled=False)
    page.get_by_role("radio", name="Low-rank adapters").check()
    page.get_by_text("All values of the recipe").click()
    page.get_by_role("button", name="Show its values").click()
    page.get_by_text("All values of the recipe").click()
    expect(page.locator("#recipe [name=lora_rank]")).to_have_value("16")
    page.locator("#recipe [name=seed]").fill("7")
    page.locator("#train-options summary").click()
    page.get_by_role("textbox", name="Base model").fill(tiny_base(tmp_path))
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page).to_have_url(re.compile(r"/train/batches/\d+/$"))
    batch = TrainingBatch.objects.get()
    assert (batch.preset, batch.recipe["seed"]) == ("lora", 7)
    django_rq.get_queue("training").empty()


def test_a_running_batch_moves_on_and_is_cancelled_from_its_page(
    open_as: OpenAs, tmp_path: Path
) -> None:
    project = make_trainable()
    batch = make_batch(project, tiny_base(tmp_path))
    fence = ownership.claim(batch.pk)
    assert fence is not None
    values: dict[str, Any] = {"phase": "train", "total_steps": 100, "eta_s": 90.0}
    ownership.beat(batch.pk, fence, step=10, **values)
    page = open_as(make_person("mia", project), f"/train/batches/{batch.pk}/")
    expect(page.get_by_text("step 10 of 100")).to_be_visible()
    ownership.beat(batch.pk, fence, step=42, **values)
    expect(page.get_by_text("step 42 of 100")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "42")

    page.get_by_role("button", name="Cancel…").click()
    # An open dialog survives the polling.
    ownership.beat(batch.pk, fence, step=43, **values)
    expect(page.get_by_text("step 43 of 100")).to_be_attached()
    page.get_by_role("button", name="No, take me back").click()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_text("The batch stops within seconds.")).to_be_visible()
    assert ownership.beat(batch.pk, fence) is True
    ownership.end_cancelled(batch.pk, fence)
    expect(page.get_by_role("button", name="Run again…")).to_be_visible()


def test_the_pages_fit_a_phone(open_as: OpenAs, tmp_path: Path) -> None:
    project = make_trainable()
    batch = make_batch(project, tiny_base(tmp_path))
    mia = make_person("mia", project)
    for path in (
        f"/train/{project.slug}/",
        f"/train/{project.slug}/?like={batch.pk}",  # with all values shown
        f"/train/batches/{batch.pk}/",
        "/train/recipes/presets/",
        "/admin/training/preset/add/",
        "/admin/training/gaterules/add/",
    ):
        page = open_as(mia, path, viewport={"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not swiped(page), path
