"""The error codes of training's calls."""

from labeling.api.codes import ErrorCode

_CREATE = ("batches_create",)

TRAINING = (
    ErrorCode(
        409,
        "not_enough_labels",
        "Too few new labels; `missing` says how many more it takes.",
        "Label more, or send `force`.",
        _CREATE,
    ),
    ErrorCode(
        409,
        "batch_running",
        "The project's batch `batch` is under way.",
        "Wait for it.",
        _CREATE,
    ),
    ErrorCode(
        409,
        "nothing_to_train_on",
        "The labels do not make a dataset, such as those of a single intent.",
        "Label more.",
        _CREATE,
    ),
    ErrorCode(
        409,
        "batch_refused",
        "The batch cannot be made; the message says why.",
        "See the message.",
        (*_CREATE, "batches_run"),
    ),
    ErrorCode(
        409,
        "wrong_state",
        "The batch runs or is done.",
        "Nothing.",
        ("batches_run",),
    ),
    ErrorCode(
        422,
        "version_unknown",
        "The project has no version of this number to go on from.",
        "List the versions.",
        _CREATE,
    ),
    ErrorCode(
        422,
        "invalid_recipe",
        "The preset or a field of the recipe is not valid.",
        "See the message.",
        _CREATE,
    ),
    ErrorCode(
        422,
        "base_model_unknown",
        "The base model cannot be found.",
        "See the message.",
        _CREATE,
    ),
)
