"""The processes that a worker's job starts, because torch must not run in the job."""

import os
import sys

from django.conf import settings

from training.processes.orphans import TRY_AGAIN, die_with_parent

__all__ = [
    "TRY_AGAIN",
    "command",
    "die_with_parent",
    "encoder_command",
    "ranks_command",
]


def command(batch_id: int) -> list[str]:
    """The command line that runs a batch as a child of this process."""
    return _command("run_batch", str(batch_id))


def encoder_command() -> list[str]:
    """The command line that builds the encoder as a child of this process."""
    return _command("build_encoder")


def ranks_command(arguments: str, *, processes: int) -> list[str]:
    """The command line by which several processes train as children of this one.

    Args:
        arguments: Folder that says what to train, see `training.ml.rank`.
        processes: How many on this machine. With `TUNELOOP_ACCELERATE_CONFIG` that
            file says how many, and on how many machines (see
            `training.processes.together`).
    """
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    if settings.ACCELERATE_CONFIG:
        launch += ["--config_file", settings.ACCELERATE_CONFIG]
    else:
        # All that Accelerate would ask for or warn about. “multi_gpu” is its word for
        # torchrun; without a GPU the processes talk by gloo.
        threads = max(1, (os.cpu_count() or 1) // processes)
        launch += ["--multi_gpu", "--num_processes", str(processes)]
        launch += ["--num_machines", "1", "--gpu_ids", "all"]
        launch += ["--main_process_port", "0", "--mixed_precision", "no"]
        launch += ["--dynamo_backend", "no"]
        launch += ["--num_cpu_threads_per_process", str(threads)]
    launch += ["--module", "training.ml.rank", arguments]
    return [
        sys.executable,
        "-m",
        "training.processes.orphans",
        str(os.getpid()),
        *launch,
    ]


def _command(*args: str) -> list[str]:
    manage = str(settings.BASE_DIR / "manage.py")
    return [sys.executable, manage, *args, "--parent", str(os.getpid())]
