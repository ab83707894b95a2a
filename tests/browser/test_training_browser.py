"""From a click to a judged version, in Chromium, with a real worker."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from playwright.sync_api import Page, expect

from tests.makers import make_person
from tests.training.makers import QUICK, make_batch, make_trainable, tiny_base
from training import ownership
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
    expect(page.get_by_text("Enough labels for a training.")).to_be_visible()
    page.get_by_text("Base model and recipe").click()
    page.get_by_role("textbox", name="Base model").fill(tiny_base(tmp_path))
    recipe = "\n".join(f"{key}={value}" for key, value in QUICK.items())
    page.get_by_role("textbox", name="Other recipe values").fill(recipe)
    page.get_by_role("button", name="Start training…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("84 questions to learn from")
    expect(dialog).to_contain_text("Afresh, from the base model")
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
    for path in (f"/train/{project.slug}/", f"/train/batches/{batch.pk}/"):
        page = open_as(mia, path, viewport={"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
