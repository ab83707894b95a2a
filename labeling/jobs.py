"""RQ's entry points of labeling. They take ids, call one function, decide nothing."""


def run_transfer(transfer_id: int) -> None:
    """Runs an import or export."""
    from labeling import transfers

    transfers.run(transfer_id)


def sweep_transfers() -> None:
    """Takes up what crashed workers left; the scheduler calls it."""
    from labeling import transfers

    transfers.sweep()


def run_paraphrasing(run_id: int) -> None:
    """Sends questions to the language model and keeps its paraphrases."""
    from labeling import growth

    growth.run(run_id)


def sweep_paraphrasings() -> None:
    """Takes up what crashed workers left; the scheduler calls it."""
    from labeling import growth

    growth.sweep()


def find_label_errors(project_id: int) -> None:
    """Searches a project's labels for likely errors."""
    from labeling import label_errors

    label_errors.find(project_id)
