"""Two people fill the same templates at once: nothing is made twice, or nearly."""

import pytest

from labeling.growth import nearness
from labeling.models import Slot, SyntheticQuestion, Template
from tests.makers import make_intent, make_person, make_project, make_question
from tests.processes import Start, go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_FILL = """
import sys, django
django.setup()
from labeling import growth
from labeling.models import Project
project = Project.objects.get(slug=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
per_intent, seed = int(sys.argv[2]), int(sys.argv[3])
filled = growth.fill(project, per_intent=per_intent, seed=seed, by=None)
print(filled.made, flush=True)
"""


@pytest.mark.parametrize("seeds", [(1, 1, 1), (1, 2, 3)])
def test_fills_at_once(start: Start, seeds: tuple[int, ...]) -> None:
    project = make_project()
    make_person("mia", project)
    words = [f"{a}{b}{c}" for a in "abcdef" for b in "klmn" for c in "xyz"]
    Slot.objects.create(project=project, name="w", values="\n".join(words))
    for code in ("go", "stay"):
        intent = make_intent(project, code)
        Template.objects.create(intent=intent, text="{w} goes to {w}")
        Template.objects.create(intent=intent, text="is {w} with {w} or {w}")
    for n in range(30):
        make_question(project, f"is {words[n]} with {words[-n]} or {words[n + 5]}")
    processes = [start(_FILL, project.slug, 60, seed) for seed in seeds]
    go(processes)
    told = [int(lines[0]) for lines in outputs(processes)]
    made = list(SyntheticQuestion.objects.values_list("text", flat=True))
    assert sum(told) == len(made)
    assert max(told) >= 60, "nothing was made: no race"
    # Not even nearly the same: who came second saw what the first had made.
    have = [nearness.grams(text) for text in made]
    assert all(
        nearness.likeness(one, other) < nearness.NEAR
        for n, one in enumerate(have)
        for other in have[:n]
    )
