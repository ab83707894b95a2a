"""Training batches: recipes, runs, evaluation and the gate."""
