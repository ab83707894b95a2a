"""The torch-free runtime of exported classifiers."""
