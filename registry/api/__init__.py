"""REST of registry."""
