"""Questions found by a part of their text, by meaning, and by what says the same."""
