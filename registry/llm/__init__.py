"""Questions that neither rules nor model are sure of, put to a language model."""
