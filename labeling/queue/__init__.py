"""The labelling queue: claim a question, keep it, answer it, give it back.

A lease names a person, a slot of the question, the queue that it came from and a
fencing token. The token is the truth: expiry only says that others may take the
question. So a verdict that comes late counts as long as nobody took over, and a verdict
with an older token never does.

Who may label is checked where a call comes in (page, API); only the reviewers' queues
ask for the role themselves.
"""

from labeling.queue.claims import MAX_CLAIM, Claimed, claim
from labeling.queue.leases import StaleLease, leave, release, renew
from labeling.queue.undoing import undo
from labeling.queue.verdicts import adjudicate, skip, submit

__all__ = [
    "MAX_CLAIM",
    "Claimed",
    "StaleLease",
    "adjudicate",
    "claim",
    "leave",
    "release",
    "renew",
    "skip",
    "submit",
    "undo",
]
