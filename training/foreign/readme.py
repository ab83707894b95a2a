"""The README.md of an exported folder: lines that run as they stand."""

from typing import Any

from registry.models import Version

_OURS = """\
```python
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
texts = sys.argv[2:] or ["What can you do?"]

reading = json.loads((folder / "reading.json").read_text("utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder = AutoModel.from_pretrained(
    folder, add_pooling_layer=False, dtype=torch.float32
).eval()
head = load_file(folder / "head.safetensors")

batch = tokenizer(
    texts,
    padding=True,
    truncation=True,
    max_length=reading["max_length"],
    return_tensors="pt",
)
mask = batch["attention_mask"]
with torch.no_grad():
    hidden = encoder(batch["input_ids"], attention_mask=mask).last_hidden_state
weight = mask.unsqueeze(-1).float()
mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
logits = mean @ head["weight"].T + head["bias"]
for text, row in zip(texts, logits.tolist()):
    best = max(range(len(row)), key=row.__getitem__)
    print(text, reading["labels"][best], row)
```"""

_THEIRS = """\
```python
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
texts = sys.argv[2:] or ["What can you do?"]

reading = json.loads((folder / "reading.json").read_text("utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(
    folder, dtype=torch.float32
).eval()

batch = tokenizer(
    texts,
    padding=True,
    truncation=True,
    max_length=reading["max_length"],
    return_tensors="pt",
)
with torch.no_grad():
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
for text, row in zip(texts, logits.tolist()):
    best = max(range(len(row)), key=row.__getitem__)
    print(text, reading["labels"][best], row)
```"""


def write(version: Version, reading: dict[str, Any], *, is_ours: bool) -> str:
    """Markdown in English.

    Args:
        version: What was exported.
        reading: What reading.json holds.
        is_ours: Whether it was trained here, with the mean over the tokens.
    """
    several = "several" if reading["multi"] else "one"
    lines = [
        "---",
        "pipeline_tag: text-classification",
        "library_name: transformers",
        "---",
        "",
        f"# Intent model of {version.project.name}, version {version.number}",
        "",
        f"Answers {len(reading['labels'])} intents, {several} a question.",
        "",
        "## Loading it",
        "",
        "With torch, safetensors and transformers. The first argument is this folder,"
        " the others are questions; outer white space does not count.",
        "",
        _OURS if is_ours else _THEIRS,
        "",
        "## From logits to an answer",
        "",
        *_reading(reading),
        "",
    ]
    return "\n".join(lines)


def _reading(reading: dict[str, Any]) -> list[str]:
    t = reading["temperature"]
    if reading["multi"]:
        return [
            f"The probability of an intent is sigmoid(logit / {t:g}). It is answered"
            " from its threshold in `reading.json` on, 0.5 where that names none;"
            f" {_fallback(reading)} where no intent reaches its own, and never beside"
            " another.",
        ]
    score = reading["out_of_scope"]
    below = f"Below {reading['accept_threshold']:g} the answer is {_fallback(reading)}."
    if not score:
        return [f"Probabilities are softmax(logits / {t:g}). {below}"]
    return [
        f"A question is out of scope (`{score['code']}`) with the probability",
        "",
        f"    o = sigmoid({score['energy']:g} * -lse + {score['margin']:g} * (z - lse)"
        f" + {score['bias']:g})",
        "",
        f"where lse is the log-sum-exp of the logits of all intents but"
        f" `{score['code']}`, and z its own logit, if it has one. The other intents"
        f" have the probabilities (1 - o) * softmax(logits / {t:g}). {below}",
    ]


def _fallback(reading: dict[str, Any]) -> str:
    code = reading["fallback"]
    return f"`{code}`" if code else "no intent"
