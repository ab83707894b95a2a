"""A project that is unsure of everything, and the servers that it may ask."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.registry.llm.speaker import Speaker

if TYPE_CHECKING:
    from labeling.models import Project


@pytest.fixture(autouse=True)
def _no_kept_prompts() -> Iterator[None]:
    """Ids of projects come again in the next test's database."""
    from registry.llm import books

    books._prompts.clear()
    yield
    books._unwritten.clear()


@pytest.fixture
def unsure(db: Any) -> "Project":
    """Its model knows nothing: each intent is as likely as the other."""
    from tests.makers import make_intent, make_project
    from tests.registry.makers import make_version

    project = make_project(accept_threshold=0.6, llm_fallback=True)
    make_intent(project, "none", is_fallback=True, name="Out of scope")
    make_version(project, ["pay", "ship"], strength=0.0, active=True)
    project.refresh_from_db()
    return project


@pytest.fixture
def speaker(settings: Any) -> Iterator[Speaker]:
    """A scripted server that the settings name."""
    speaker = Speaker()
    settings.LLM_URL, settings.LLM_MODEL = speaker.url, "tiny"
    settings.LLM_TIMEOUT_S = 10.0
    yield speaker
    speaker.close()


@pytest.fixture(scope="session")
def smollm_url() -> Iterator[str]:
    """SmolLM2 in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("smollm.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().strip()
    assert url, "the language model did not start"
    yield f"{url}/v1"
    process.stdin.close()
    process.wait(20)


@pytest.fixture
def smollm(smollm_url: str, settings: Any) -> None:
    """The settings name it; a busy machine gives it time."""
    settings.LLM_URL, settings.LLM_MODEL = smollm_url, "smollm2"
    settings.LLM_TIMEOUT_S = 120.0
