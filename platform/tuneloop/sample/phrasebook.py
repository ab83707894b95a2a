"""What a phrasebook is: an intent, the ways people ask for it, and how often."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleIntent:
    """An intent of the sample project."""

    code: str
    name_en: str
    name_zh: str
    description_en: str
    """One sentence for annotators."""
    description_zh: str
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """A labelled question of the sample project."""

    text: str
    intent: str
    """Code of its intent."""
    language: str
    """`zh` or `en`; mixed sentences are `zh`."""
    shape: str
    """Id of the template it was made from: split on it to test on new phrasings."""


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """An intent with its templates; `grammar` describes their lines."""

    intent: SampleIntent
    traffic: float
    """Share of the users' questions, relative to the other intents."""
    templates: str
    """Template lines that the labelled questions are made from."""
    unseen: str
    """Template lines that occur in traffic only: phrasings nobody has labelled."""
