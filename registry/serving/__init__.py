"""From a question to its answer: rules, model, fusion, log; one copy a process."""
