"""Template tags of the product's own pages."""
