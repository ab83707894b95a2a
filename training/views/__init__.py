"""Training's pages for managers."""
