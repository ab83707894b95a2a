"""Admin pages of the team's own presets: recipes under names of their own."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from labeling.admin import cells
from labeling.admin.scoped import Role, project_ids, signed_in
from training import explain
from training.models import Preset
from training.planning import recipe_form
from training.recipe import PRESETS, Recipe


class _PresetForm(forms.ModelForm):  # type: ignore[type-arg]
    """The row's own fields; the recipe's come beside them, see `PresetForm`."""

    built_on = forms.ChoiceField(
        choices=[(name, name) for name in PRESETS],
        label=_("Built on"),
        help_text=_(
            "The built-in preset whose way of training it takes: one that is built on"
            " “incremental” goes on from the active version."
        ),
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Preset
        fields = ("name", "built_on", "description")
        help_texts = {
            "name": _("Small letters, digits and hyphens, such as: careful-2."),
            "description": _(
                "What it is for; it stands below the name where one picks."
            ),
        }
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        stored = getattr(kwargs.get("instance"), "recipe", None) or Recipe().to_dict()
        known = {k: v for k, v in stored.items() if k in explain.KNOBS}
        kwargs["initial"] = {**known, **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name in PRESETS:
            raise forms.ValidationError(_("A built-in preset has this name."))
        return name

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not set(self.errors) & set(explain.KNOBS):
            recipe_form.check_together(self, Recipe())
        return values

    def _post_clean(self) -> None:
        # Before the row is validated as a whole, which wants its recipe.
        if not self.errors:
            values = {name: self.cleaned_data[name] for name in explain.KNOBS}
            self.instance.recipe = Recipe.from_dict(values).to_dict()
        super()._post_clean()  # type: ignore[misc]


_form_class: Any = type(_PresetForm)
PresetForm = _form_class(
    "PresetForm",
    (_PresetForm,),
    {**recipe_form.fields(), "__module__": __name__, "__doc__": _PresetForm.__doc__},
)
"""A preset with a form field for each field of its recipe."""


@admin.register(Preset)
class PresetAdmin(ModelAdmin):
    """Whoever manages a project may look at all and add some; what somebody has made
    is changed and deleted by them, or by a superuser.

    Presets belong to no project: a recipe that suits one label set is worth a try on
    another. Batches keep their recipe, whatever becomes of the preset.
    """

    form = PresetForm
    list_display = ("name", "built_on", "changes", "description", "created_by")
    list_select_related = ("created_by",)
    search_fields = ("name", "description")
    ordering = ("name",)
    list_before_template = "training/presets_before.html"
    fieldsets = (
        (None, {"fields": (("name", "built_on"), "description")}),
        *(
            (group.title, {"description": group.text, "fields": tuple(group.knobs)})
            for group in explain.GROUPS.values()
        ),
    )

    @display(description=_("differs in"))
    def changes(self, obj: Preset) -> str:
        built_on = PRESETS.get(obj.built_on, Recipe()).to_dict()
        names = [
            name
            for name, value in obj.recipe.items()
            if name in built_on and not recipe_form.same(value, built_on[name])
        ]
        return cells.codes(names) if names else cells.NOTHING

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The values of the preset in `?copy=`; a team's own gives its way, too."""
        name = request.GET.get("copy", "first")
        if name in PRESETS:
            return {"built_on": name, **PRESETS[name].to_dict()}
        own = Preset.objects.filter(name=name).first()
        return {"built_on": own.built_on, **own.recipe} if own else {}

    def save_model(
        self, request: HttpRequest, obj: Preset, form: Any, change: bool
    ) -> None:
        if not change:
            obj.created_by = signed_in(request)
        super().save_model(request, obj, form, change)

    # --- Who may ------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) and self._manages(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and self._manages(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and self._manages(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._made(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._made(request, obj)

    def _manages(self, request: HttpRequest) -> bool:
        if request.user.is_superuser:
            return True
        return bool(project_ids(request, Role.MANAGER))

    def _made(self, request: HttpRequest, obj: Preset | None) -> bool:
        if request.user.is_superuser:
            return True
        is_own = obj is None or obj.created_by_id == request.user.pk
        return is_own and self._manages(request)
