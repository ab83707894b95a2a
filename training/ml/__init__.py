"""Everything that needs torch: models, the training loop and the ONNX export."""
