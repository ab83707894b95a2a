"""Projects, intents, questions, the queue, labels, rules and datasets; knows no other app."""
