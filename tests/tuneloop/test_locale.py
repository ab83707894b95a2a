"""The Chinese catalogue is complete, compiled, and used by the pages."""

import ast
import gettext
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

ROOT = Path(__file__).resolve().parents[2]
LOCALE = ROOT / "platform" / "tuneloop" / "locale"
PO = Path("zh_Hans", "LC_MESSAGES", "django.po")

HOW = (
    "Run: python manage.py makemessages -l zh_Hans --no-location --no-obsolete"
    " --no-wrap -i 'var/*' -i 'tests/*' in the repository root, translate, then"
    " compilemessages."
)


def entries(path: Path) -> dict[str, tuple[list[str], bool]]:
    """A catalogue's messages: {context + id: (translations, fuzzy)}.

    Keys are spelt as in the compiled file: context, EOT, id; NUL before a plural.
    """
    found = {}
    for block in path.read_text("utf-8").split("\n\n"):
        parts: dict[str, str] = {}
        field = ""
        for line in block.splitlines():
            if match := re.match(r'(msg\w+(?:\[\d\])?) (".*")$', line):
                field, text = match.groups()
                parts[field] = ast.literal_eval(text)
            elif line.startswith('"'):
                parts[field] += ast.literal_eval(line)
        if not parts.get("msgid"):
            continue
        key = parts["msgid"]
        if "msgctxt" in parts:
            key = f"{parts['msgctxt']}\x04{key}"
        translations = [v for k, v in parts.items() if k.startswith("msgstr")]
        found[key] = (translations, re.search(r"^#,.*fuzzy", block, re.M) is not None)
    return found


def test_nothing_is_untranslated_or_fuzzy() -> None:
    catalogue = entries(LOCALE / PO)
    assert len(catalogue) > 500
    empty = [key for key, (texts, _fuzzy) in catalogue.items() if not all(texts)]
    fuzzy = [key for key, (_texts, fuzzy) in catalogue.items() if fuzzy]
    assert not empty, HOW
    assert not fuzzy, HOW


def test_placeholders_survive() -> None:
    """A missing `%(name)s` would lose a fact, a mistyped one break the page."""
    named = re.compile(r"%\((\w+)\)")
    unnamed = re.compile(r"%[sd]")
    for key, (texts, _fuzzy) in entries(LOCALE / PO).items():
        for text in texts:
            assert set(named.findall(text)) >= set(named.findall(key)), key
            assert len(unnamed.findall(text)) == len(unnamed.findall(key)), key


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="needs gettext")
def test_the_code_has_no_words_that_the_catalogue_lacks(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = tmp_path / "words"
    shutil.copytree(LOCALE, fresh)
    (fresh / PO).with_suffix(".mo").unlink()
    settings.LOCALE_PATHS = [str(fresh)]
    monkeypatch.chdir(ROOT)
    call_command(
        "makemessages",
        locale=["zh_Hans"],
        no_obsolete=True,
        no_location=True,
        no_wrap=True,
        # The repository's own folder, too: files then count for the copy.
        ignore_patterns=["var/*", "tests/*", "venv/*", ".venv/*", "locale"],
        verbosity=0,
    )
    now, known = set(entries(fresh / PO)), set(entries(LOCALE / PO))
    assert not now - known, HOW
    assert not known - now, HOW


def test_the_compiled_catalogue_is_of_these_words() -> None:
    """It is kept in the repository, so that a fresh clone needs no msgfmt."""
    with (LOCALE / PO).with_suffix(".mo").open("rb") as file:
        compiled: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    texts = {
        key[0] if isinstance(key, tuple) else key: text
        for key, text in compiled.items()
        if key
    }
    assert texts == {key: t[0] for key, (t, _fuzzy) in entries(LOCALE / PO).items()}


@pytest.mark.django_db
def test_pages_speak_chinese() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root"))
    for language, word in (("zh-hans", "仪表盘"), ("en", "Dashboard")):
        client.post(reverse("set_language"), {"language": language})
        page = client.get(reverse("admin:index"))
        assert word in page.content.decode()
        assert f'lang="{language}"' in page.content.decode()
