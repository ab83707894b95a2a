"""The sample project "Food factory assistant" (食品厂助手): intents, questions,
annotator guidelines and traffic for demonstrations, made from templates and a seed.
"""

from .generator import intents, questions, rules, traffic, unseen_questions
from .guidelines import CONFUSABLE_PAIRS, GUIDELINES_EN, GUIDELINES_ZH
from .phrasebook import SampleIntent, SampleQuestion

SLUG = "factory"
NAME_EN = "Food factory assistant"
NAME_ZH = "食品厂助手"

__all__ = [
    "CONFUSABLE_PAIRS",
    "GUIDELINES_EN",
    "GUIDELINES_ZH",
    "NAME_EN",
    "NAME_ZH",
    "SLUG",
    "SampleIntent",
    "SampleQuestion",
    "intents",
    "questions",
    "rules",
    "traffic",
    "unseen_questions",
]
