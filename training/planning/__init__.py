"""Before a training: presets, the recipe as a form, time needed, what speaks against."""
