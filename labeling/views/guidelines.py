"""Guidelines of projects and intents: untrusted Markdown as safe HTML."""

from functools import lru_cache

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt


@lru_cache(maxsize=512)
def render(markdown: str) -> SafeString:
    """HTML of Markdown (CommonMark and tables).

    Raw HTML is shown as text, links to scripts are dropped, and images are left out: a
    page for annotators must not call other servers.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable("image")
    html: SafeString = mark_safe(reader.render(markdown))  # noqa: S308  html is off
    return html
