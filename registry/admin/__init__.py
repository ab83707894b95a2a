"""The admin of registry."""
