"""Models that come from elsewhere, and ours that go there: Hugging Face folders."""

from training.foreign.errors import ForeignError
from training.foreign.exporting import export
from training.foreign.folders import Found, look
from training.foreign.importing import import_folder

__all__ = ["ForeignError", "Found", "export", "import_folder", "look"]
