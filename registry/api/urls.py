"""Addresses of the registry API."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
