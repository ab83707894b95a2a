"""Which questions are alike: vectors of questions, stored and searched."""


class EncoderMissing(Exception):
    """No encoder can be used here; the message is a sentence that says what to do."""
