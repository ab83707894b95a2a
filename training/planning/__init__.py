"""Before a training: presets, the recipe as a form, time needed, reasons against it."""
