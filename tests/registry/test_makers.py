"""The tiny versions that other tests build on answer as they say."""

import pytest

from registry import artifacts
from registry.onnx.reading import Reading
from registry.onnx.session import OnnxClassifier
from tests.makers import make_project
from tests.registry.makers import make_version


@pytest.mark.django_db
def test_a_made_version_answers_by_its_words() -> None:
    version = make_version(
        make_project(), ["pay", "ship"], words={"pay": ["money"], "ship": ["truck"]}
    )
    model = OnnxClassifier(artifacts.open_verified(version))
    reading = Reading.of(version)
    p = reading.probabilities(model.logits(["the truck", "Money money", "?"]))
    assert model.labels == ["pay", "ship"]
    assert p[0, 1] > 0.99
    assert p[1, 0] > 0.99
    assert p[2].tolist() == [0.5, 0.5]
