"""What each knob of a recipe does, in words for whoever turns it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

Text = str | Promise


@dataclass(frozen=True)
class Knob:
    """One field of `Recipe`, explained."""

    title: Text
    text: Text
    """What it does, and when to change it."""
    unit: Text = ""
    least: float | None = None
    most: float | None = None
    """Bounds, themselves allowed."""
    choices: Mapping[str, Text] = field(default_factory=dict)
    """What may be said, with its words; a field of several takes any of them."""


@dataclass(frozen=True)
class Group:
    """Knobs that belong together."""

    title: Text
    text: Text
    knobs: Mapping[str, Knob]


_SHARE = _("share")
_STEPS = pgettext_lazy("unit", "steps")
BELOW_1 = 0.99
"""Shares that must stay below the whole."""

GROUPS: dict[str, Group] = {
    "length": Group(
        _("Length of the training"),
        _("How often it goes over the questions, and when it stops."),
        {
            "epochs": Knob(
                _("Passes"),
                _(
                    "How often it goes over all questions. More help while the score"
                    " still rises at the end; the time grows with them."
                ),
                least=1,
            ),
            "min_steps": Knob(
                _("Steps at least"),
                _(
                    "Where questions are few, passes are added until so many steps are"
                    " done. 0 for no such bound."
                ),
                unit=_STEPS,
                least=0,
            ),
            "max_passes": Knob(
                _("Passes at most"),
                _(
                    "Bounds the passes that “Steps at least” adds: a handful of"
                    " questions teaches nothing more the fiftieth time. 0 for no bound."
                ),
                least=0,
            ),
            "max_steps": Knob(
                _("Steps at most"),
                _(
                    "Cuts a training short, whatever the passes say; a way to bound its"
                    " time. 0 for no bound."
                ),
                unit=_STEPS,
                least=0,
            ),
            "early_stopping_patience": Knob(
                _("Patience"),
                _(
                    "Ends the training after so many looks at the validation questions"
                    " without a better macro-F1; the best weights are kept. 0 never"
                    " ends it early."
                ),
                unit=_("looks"),
                least=0,
            ),
            "batch_size": Knob(
                _("Questions in a step"),
                _(
                    "More are quicker and steadier and take more memory; fewer make"
                    " more of a small number of new labels."
                ),
                unit=_("questions"),
                least=1,
            ),
        },
    ),
    "rates": Group(
        _("Learning rates"),
        _("How far each step moves the weights, and what holds them back."),
        {
            "encoder_lr": Knob(
                _("Encoder's rate"),
                _(
                    "How far a step moves the language model. Lower forgets less and"
                    " learns less: at 0.000005 new intents are hardly learned at all."
                ),
                least=0.0,
                most=BELOW_1,
            ),
            "head_lr": Knob(
                _("Head's rate"),
                _(
                    "The same for the classification head, one row an intent. It starts"
                    " from little and bears a much higher rate than the encoder."
                ),
                least=1e-9,
                most=BELOW_1,
            ),
            "warmup_fraction": Knob(
                _("Warm-up"),
                _(
                    "Part of the steps in which the rates rise from nothing. More of it"
                    " helps where the loss jumps in the beginning."
                ),
                unit=_SHARE,
                least=0.0,
                most=BELOW_1,
            ),
            "weight_decay": Knob(
                _("Weight decay"),
                _(
                    "Pulls weights towards zero, so that they fit noise less. Seldom"
                    " worth a change."
                ),
                least=0.0,
            ),
            "dropout": Knob(
                _("Dropout"),
                _(
                    "Part of the features that is hidden from the head at each step."
                    " More of it helps where training is right and validation is not."
                ),
                unit=_SHARE,
                least=0.0,
                most=BELOW_1,
            ),
        },
    ),
    "frozen": Group(
        _("What stays frozen"),
        _("Weights that are not moved: less is forgotten, and the training is quick."),
        {
            "frozen_layers": Knob(
                _("Frozen layers"),
                _(
                    "Lowest layers that stay as they are: a number of layers, or a part"
                    " such as 2/3 (8 of 12). Freeze more when going on, nothing in a"
                    " full retraining. Empty for none."
                ),
                unit=_("layers"),
                least=0.0,
            ),
            "freeze_embeddings": Knob(
                _("Freeze the word embeddings"),
                _(
                    "They are most of a multilingual model's weights, and a few"
                    " thousand questions hardly improve them."
                ),
            ),
        },
    ),
    "adapters": Group(
        _("Low-rank adapters (LoRA)"),
        _(
            "Small matrices are trained beside the model's own, and added to them at"
            " the end: little memory, for large base models."
        ),
        {
            "lora_rank": Knob(
                _("Rank"),
                _(
                    "Width of the adapters; 8 to 32 are usual, more learn more. 0"
                    " trains the whole model instead, and the other values of this"
                    " group mean nothing."
                ),
                least=0,
            ),
            "lora_alpha": Knob(
                _("Scale (alpha)"),
                _(
                    "What an adapter says is multiplied by this and divided by the"
                    " rank. Once or twice the rank is usual."
                ),
                least=0.0,
            ),
            "lora_dropout": Knob(
                _("Dropout before the adapters"),
                _("Part of the features that the adapters do not see at a step."),
                unit=_SHARE,
                least=0.0,
                most=BELOW_1,
            ),
            "lora_targets": Knob(
                _("Adapted matrices"),
                _(
                    "Which matrices of each layer get an adapter. Those of the"
                    " attention are mostly enough; with the feed-forward part it learns"
                    " more and takes longer."
                ),
                choices={
                    "query": _("query (attention)"),
                    "key": _("key (attention)"),
                    "value": _("value (attention)"),
                    "output": _("output (attention)"),
                    "up": _("up (feed-forward)"),
                    "down": _("down (feed-forward)"),
                },
            ),
            "quantised": Knob(
                _("4-bit weights (QLoRA)"),
                _(
                    "Keeps what lies below the adapters in 4 bits: a fraction of the"
                    " memory. Needs a CUDA GPU and the package bitsandbytes."
                ),
            ),
        },
    ),
    "few": Group(
        _("Few labels"),
        _("What makes ten labels an intent, or a new intent, worth more."),
        {
            "new_rows": Knob(
                _("New intents start"),
                _(
                    "From the mean of their questions, they are answered before the"
                    " first step. At random is there for comparison: at a careful rate"
                    " it learns nothing."
                ),
                choices={
                    "imprinted": _("from the mean of their questions"),
                    "fresh": _("at random"),
                },
            ),
            "contrastive_weight": Knob(
                _("Weight of the contrastive loss"),
                _(
                    "How much it counts that questions of one intent lie close"
                    " together and others far apart. Helps with few labels an intent;"
                    " 0 leaves it out."
                ),
                least=0.0,
            ),
            "contrastive_temperature": Knob(
                _("Temperature of the contrastive loss"),
                _(
                    "Lower looks at the nearest questions only, higher at all of them."
                    " Means nothing without the contrastive loss."
                ),
                least=0.001,
            ),
        },
    ),
    "replay": Group(
        _("Replay of old labels"),
        _("What is learned again, so that new labels do not push old ones out."),
        {
            "replay": Knob(
                _("Old questions for each new one"),
                _(
                    "0.5 repeats one old question for two new ones, and at least one of"
                    " each old intent. More of them forget less and take longer. Only"
                    " when going on from a version."
                ),
                unit=_("questions"),
                least=0.0,
            ),
            "replay_order": Knob(
                _("Which old questions"),
                _(
                    "In turn keeps small intents alive; the least sure ones are those"
                    " that would be lost first; at random keeps the shares of the"
                    " intents."
                ),
                choices={
                    "stratified": _("the intents in turn"),
                    "random": _("at random"),
                    "hardest": _("those that the version is least sure of"),
                },
            ),
            "distillation": Knob(
                _("Hold on to right answers"),
                _(
                    "How much it counts that the version's right answers stay as they"
                    " are while new labels are learned. More forgets less, and learns"
                    " less; 0 leaves it out."
                ),
                least=0.0,
            ),
        },
    ),
    "balance": Group(
        _("Balance of the intents"),
        _("What is done for intents with few questions, and against wrong labels."),
        {
            "class_balance": Knob(
                _("Intents with few questions"),
                _(
                    "Lets rare intents count more, or come more often. Change it when"
                    " large intents swallow small ones; accuracy may fall while"
                    " macro-F1 rises."
                ),
                choices={
                    "none": _("count as they come"),
                    "weights": _("count more in the loss"),
                    "sampling": _("come as often as the others"),
                },
            ),
            "label_smoothing": Knob(
                _("Label smoothing"),
                _(
                    "Part of each answer that is spread over all intents. 0.1 makes a"
                    " model less sure of itself, which helps where labels are wrong."
                ),
                unit=_SHARE,
                least=0.0,
                most=BELOW_1,
            ),
        },
    ),
    "machine": Group(
        _("Machine"),
        _("Memory, precision and randomness: what it runs on, not what it learns."),
        {
            "max_length": Knob(
                _("Longest question"),
                _(
                    "Tokens that are read, the rest is cut off; a Chinese character or"
                    " an English word is about one. Raise it for long questions only:"
                    " time and memory grow with it."
                ),
                unit=_("tokens"),
                least=1,
            ),
            "precision": Knob(
                _("Numeric precision"),
                _(
                    "16-bit numbers halve the time on GPUs that know them. Automatic"
                    " is right unless a loss becomes NaN."
                ),
                choices={
                    "auto": _("automatic"),
                    "float32": _("32 bits"),
                    "bf16": _("16 bits (bf16)"),
                },
            ),
            "gradient_accumulation": Knob(
                _("Parts of a step"),
                _(
                    "Learns a step's questions in so many parts, one after the other:"
                    " the same result in less memory. Raise it when memory runs out."
                ),
                unit=_("parts"),
                least=1,
            ),
            "checkpoint_every_s": Knob(
                _("Checkpoint every"),
                _(
                    "A training whose process dies goes on from the last one. Fewer"
                    " checkpoints write less; more lose less."
                ),
                unit=_("seconds"),
                least=1.0,
            ),
            "seed": Knob(
                _("Seed"),
                _(
                    "Where the random numbers begin. The same seed, labels and recipe"
                    " give the same model; another one shows how much is luck."
                ),
                least=0,
            ),
        },
    ),
}
"""All fields of a recipe, in the order of the pages."""

KNOBS: dict[str, Knob] = {
    name: knob for group in GROUPS.values() for name, knob in group.knobs.items()
}
