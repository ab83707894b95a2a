"""The usual way to serve a classifier, to measure against: FastAPI around a pipeline.

    python tests/benchmarks/fastapi_side.py FOLDER PORT [WORKERS [THREADS]]

FOLDER is an exported version with its `model.safetensors`. Same weights, PyTorch
float32, as many requests at a time in each of the workers as its threads take; no log,
no keys, no rules. THREADS is what PyTorch may use in a worker; without it, what it
chooses itself, as where nobody has thought of it: all cores, for each request. Needs
`pip install fastapi uvicorn`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def pipeline_of(folder: Path) -> Any:
    """A text-classification pipeline with the version's encoder and head."""
    import torch
    from safetensors.torch import load_file
    from transformers import (
        AutoModel,
        PreTrainedTokenizerFast,
        TextClassificationPipeline,
    )
    from transformers.modeling_outputs import SequenceClassifierOutput

    if threads := os.environ.get("THREADS"):
        torch.set_num_threads(int(threads))
    labels = json.loads((folder / "labels.json").read_text())["labels"]
    encoder = AutoModel.from_pretrained(
        folder, dtype=torch.float32, add_pooling_layer=False
    ).eval()
    head = {k: v.float() for k, v in load_file(folder / "head.safetensors").items()}
    weight = next(v for v in head.values() if v.dim() == 2)
    bias = next(v for v in head.values() if v.shape == (len(labels),))
    encoder.config.id2label = dict(enumerate(labels))
    encoder.config.num_labels = len(labels)
    forward = encoder.forward

    def classify(**inputs: Any) -> Any:
        hidden = forward(**inputs).last_hidden_state  # (B, T, D)
        mask = inputs["attention_mask"].unsqueeze(-1)  # (B, T, 1)
        mean = (hidden * mask).sum(1) / mask.sum(1)  # (B, D)
        return SequenceClassifierOutput(logits=mean @ weight.T + bias)

    encoder.forward = classify
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>"
    )
    return TextClassificationPipeline(model=encoder, tokenizer=tokenizer)


def application() -> Any:
    """The app, as uvicorn's factory."""
    from fastapi import FastAPI

    app = FastAPI()
    classifier = pipeline_of(Path(os.environ["FOLDER"]))

    @app.post("/classify")
    def classify(body: dict[str, str]) -> Any:
        return {"version": "1", "intents": classifier(body["text"], truncation=True)}

    return app


if __name__ == "__main__":
    import uvicorn

    os.environ["FOLDER"] = sys.argv[1]
    os.environ.pop("OMP_NUM_THREADS", None)
    if len(sys.argv) > 4:
        os.environ["THREADS"] = os.environ["OMP_NUM_THREADS"] = sys.argv[4]
    sys.path.insert(0, str(Path(__file__).parent))
    uvicorn.run(
        "fastapi_side:application",
        factory=True,
        port=int(sys.argv[2]),
        workers=int(sys.argv[3]) if len(sys.argv) > 3 else 2,
        log_level="warning",
    )
