"""What a browser posts from the page that starts a training."""

from typing import Any

from training.planning import recipe_form
from training.recipe import PRESETS


def filled(preset: str, *, shown: str = "", **values: Any) -> dict[str, Any]:
    """The form with all fields of a recipe, as a preset fills them; some changed.

    Args:
        preset: The preset that is chosen.
        shown: The preset whose values the page showed, if another one.
        values: Fields of the form or the recipe; None leaves one out.
    """
    recipe = PRESETS[shown or preset].to_dict()
    inputs = {
        name: field.prepare_value(recipe[name])
        for name, field in recipe_form.fields().items()
    }
    posted = {"preset": preset, "recipe_of": shown or preset, "base": "", **inputs}
    posted.update(values)
    # A browser leaves an unchecked box out, and has nothing but texts.
    return {
        name: value if isinstance(value, list) else str(value)
        for name, value in posted.items()
        if value is not None and value is not False
    }
