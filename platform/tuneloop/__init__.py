"""Tuneloop's own package: settings, urls, the admin site, embedded services, commands."""
