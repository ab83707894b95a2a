"""Addresses of the training API."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
