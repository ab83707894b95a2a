"""What tests of training share."""

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Spec of a tiny random base model."""
    import torch

    from tests.training.makers import tiny_base

    # A tiny model gains nothing from a second thread, and waiting for one that shares
    # its core with other processes costs a hundredfold.
    torch.set_num_threads(1)
    return tiny_base(tmp_path_factory.mktemp("base"))
