"""Template tags of labeling's pages."""
