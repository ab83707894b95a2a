"""Trains SetFit as its guide does, in an interpreter that has it.

    python setfit_side.py JOB

`bench_few_shot.py` starts it. JOB is a JSON file: the base's `folder`, `train` and
`test` (pairs of text and intent), `iterations`, `seed`, `threads`. The last line that
it prints is JSON too: `accuracy`, the `seconds` and `cpu_s` of training alone, `steps`
of the body and the `texts` through it. Needs setfit 1.1 with transformers 4.
"""

import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path


def main() -> int:
    """Train, answer the test rows, print."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    torch.set_num_threads(job["threads"])
    # Mean pooling, as the base was made for.
    words = models.Transformer(job["folder"], max_seq_length=64)
    pooling = models.Pooling(words.get_word_embedding_dimension(), "mean")
    body = SentenceTransformer(modules=[words, pooling], device="cpu")
    head = LogisticRegression(max_iter=1000)
    model = SetFitModel(model_body=body, model_head=head)
    texts, intents = zip(*job["train"], strict=True)
    rows = Dataset.from_dict({"text": list(texts), "label": list(intents)})
    # What it says on the way goes where it is seen at once.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            output_dir=folder,
            batch_size=16,
            num_epochs=1,
            num_iterations=job["iterations"],
            body_learning_rate=2e-5,
            save_strategy="no",
            report_to="none",
            logging_steps=50,
            seed=job["seed"],
            show_progress_bar=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        started, cpu = time.monotonic(), time.process_time()
        trainer.train()
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu
    tests, truth = zip(*job["test"], strict=True)
    answers = [str(answer) for answer in model.predict(list(tests))]
    right = sum(a == b for a, b in zip(answers, truth, strict=True))
    # Each row gives `iterations` pairs of one intent and as many of two.
    pairs = 2 * job["iterations"] * len(texts)
    result = {
        "accuracy": right / len(truth),
        "seconds": seconds,
        "cpu_s": cpu_s,
        "steps": -(-pairs // 16),
        "texts": 2 * pairs,
    }
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
