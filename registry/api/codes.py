"""The error codes of the registry's calls."""

from labeling.api.codes import ErrorCode
from labeling.normalise import MAX_TEXT_CHARS
from registry.api.bodies import MAX_REASON_CHARS, MAX_TEXTS, MAX_TOP_K

_CLASSIFY = ("classify",)
_FEEDBACK = ("feedback",)
_SWITCH = ("activate_version", "roll_back")
_BODIES = (*_CLASSIFY, *_FEEDBACK, *_SWITCH)

REGISTRY = (
    ErrorCode(
        400, "not_an_object", "The body is no JSON object.", "Send one.", _BODIES
    ),
    ErrorCode(
        400,
        "both_text_and_texts",
        "Both `text` and `texts` were sent.",
        "Send one of them.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "text_missing",
        "Neither `text` nor `texts` was sent, or `texts` is empty.",
        "Send one of them.",
        _CLASSIFY,
    ),
    ErrorCode(
        400, "texts_not_a_list", "`texts` is not a list.", "Send a list.", _CLASSIFY
    ),
    ErrorCode(
        400,
        "too_many_texts",
        f"More than {MAX_TEXTS} texts at once.",
        "Send them in several calls.",
        _CLASSIFY,
    ),
    ErrorCode(
        400, "text_not_a_string", "A text is not a string.", "Send strings.", _CLASSIFY
    ),
    ErrorCode(
        400,
        "text_empty",
        "A text has nothing but white space.",
        "Leave it out.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "text_too_long",
        f"A text has more than {MAX_TEXT_CHARS:,} characters.",
        "Send its beginning: models read less than that.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "text_invalid",
        "A text holds what cannot be stored.",
        "Take the character out that the message names.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "invalid_top_k",
        f"`top_k` is no whole number from 1 to {MAX_TOP_K}.",
        "Mend it.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "request_id_with_texts",
        "`request_id` was sent with `texts`.",
        "Send a single `text` with it.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "invalid_request_id",
        "`request_id` is not a UUID.",
        "Make a new UUID for each question.",
        (*_CLASSIFY, *_FEEDBACK),
    ),
    ErrorCode(
        409,
        "request_id_taken",
        "The `request_id` belongs to another text or another project.",
        "Make a new UUID for each question.",
        _CLASSIFY,
    ),
    ErrorCode(
        429,
        "rate_limited",
        "The key has used up its texts of this minute.",
        "Try again after `Retry-After` seconds.",
        _CLASSIFY,
    ),
    ErrorCode(
        503,
        "busy",
        "The server works on as much as it can.",
        "Try again after `Retry-After` seconds.",
        _CLASSIFY,
    ),
    ErrorCode(
        503,
        "journal_full",
        "The database is away for so long that the local journal is full.",
        "Try again after `Retry-After` seconds; tell who runs the server.",
        _CLASSIFY,
    ),
    ErrorCode(
        400,
        "request_id_missing",
        "No `request_id` was sent.",
        "Send that of the answer.",
        _FEEDBACK,
    ),
    ErrorCode(
        400,
        "invalid_verdict",
        "`verdict` is neither `right` nor `wrong`.",
        "Mend it.",
        _FEEDBACK,
    ),
    ErrorCode(
        400, "invalid_intent", "`intent` is not a string.", "Send a code.", _FEEDBACK
    ),
    ErrorCode(
        400,
        "unknown_intent",
        "The project has no intent of this code.",
        "Look at the project's intents.",
        _FEEDBACK,
    ),
    ErrorCode(
        404,
        "unknown_request",
        "The project has given no answer of this `request_id`.",
        "Send that of an answer.",
        _FEEDBACK,
    ),
    ErrorCode(
        400,
        "invalid_reason",
        f"`reason` is no text of at most {MAX_REASON_CHARS:,} characters.",
        "Mend it.",
        _SWITCH,
    ),
    ErrorCode(
        400, "invalid_force", "`force` is neither true nor false.", "Mend it.", _SWITCH
    ),
    ErrorCode(
        400,
        "reason_missing",
        "Against the gate takes a `reason`.",
        "Say why.",
        ("activate_version",),
    ),
    ErrorCode(
        404,
        "unknown_version",
        "The project has no version of this number.",
        "List the versions.",
        ("activate_version",),
    ),
    ErrorCode(
        409,
        "gate_refused",
        "The gate has not passed the version; `gate_reasons` says why.",
        "Train better, or send `force` and a `reason`.",
        ("activate_version",),
    ),
    ErrorCode(
        409,
        "already_active",
        "The version serves already.",
        "Nothing.",
        ("activate_version",),
    ),
    ErrorCode(
        409,
        "nothing_to_roll_back",
        "No other version was active before.",
        "Nothing.",
        ("roll_back",),
    ),
    ErrorCode(
        409,
        "overtaken",
        "Somebody else switched the version at this moment.",
        "Look at what is active, then decide again.",
        _SWITCH,
    ),
    ErrorCode(
        409,
        "version_refused",
        "The version cannot serve; the message says why.",
        "Choose another version.",
        _SWITCH,
    ),
    ErrorCode(
        409,
        "artifact_damaged",
        "The version's files are missing or damaged.",
        "Restore them, or choose another version.",
        _SWITCH,
    ),
)
