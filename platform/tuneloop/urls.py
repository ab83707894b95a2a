"""Every address of the product."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("label/", include("labeling.urls")),
    path("train/", include("training.urls")),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs/", SpectacularSwaggerView.as_view(), name="docs"),
    path("api/v1/", include("labeling.api.urls")),
    path("api/v1/", include("registry.api.urls")),
    path("api/v1/", include("training.api.urls")),
]

# Below /api/ these answer with problem objects, elsewhere with Django's pages.
handler400 = "labeling.api.problems.bad_request"
handler404 = "labeling.api.problems.page_not_found"
handler500 = "labeling.api.problems.server_error"
