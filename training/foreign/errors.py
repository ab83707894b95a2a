"""What can't be imported or exported."""


class ForeignError(Exception):
    """A folder that can't be taken in or written; the message is a sentence."""
