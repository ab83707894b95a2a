"""Serving: engine, runtime, matcher, fusion."""
