"""Projects, questions, queue, labels, rules and datasets; knows no other app."""
