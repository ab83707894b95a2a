"""What the browser's tests ask of a page's boxes."""

from playwright.sync_api import Page


def swiped(page: Page) -> list[str]:
    """What has to be swiped sideways to be read; a confusion matrix may be."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => [...document.querySelectorAll(".tl-scroll, .tl-tall")]
            .filter((box) => box.scrollWidth > box.clientWidth + 1)
            .filter((box) => !box.querySelector(".tl-matrix"))
            .map((box) => box.textContent.trim().slice(0, 60))"""
    )
