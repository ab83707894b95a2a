"""A version loaded into memory: immutable, checked and warm."""

import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils.translation import gettext as _

from registry import artifacts
from registry.models import Version
from registry.onnx import samples
from registry.onnx.reading import Columns, Reading
from registry.onnx.session import OnnxClassifier
from registry.serving import measures, memory
from registry.serving.answers import Recent
from registry.serving.batcher import Batcher
from registry.serving.rulebook import Rulebook

_BATCH_TOKENS = 256
"""Of one run, about 25 ms with the default base. More texts at once are hardly faster,
and whoever comes meanwhile waits for all of them."""
_GATHER_S = 0.006
"""Under load only, see `Batcher`: a fifth more answers a second with two processes on
two cores, and no slower ones."""

_WARM_UP = ("?", "One longer text, so that the first question need not wait. " * 4)


Result = TypeVar("Result")


class ModelFailed(Exception):
    """The model has no answer to a question; the cause says why."""


class Said(NamedTuple):
    """What the model says of one text."""

    probabilities: npt.NDArray[np.float64]
    """(C,), in the order of `Bundle.reading.codes`."""
    was_cut: bool
    """Whether the text was longer than what the model reads."""


class Bundle:
    """Model, tokenizer and reading of one version.

    Nothing in it refers back to it: its memory is free as soon as the last request on
    it has ended.
    """

    def __init__(self, version: Version) -> None:
        """Checks the files, opens and warms the model: 0.5 to 2 s for 100 MB.

        Raises:
            artifacts.ArtifactError: Files are missing or damaged, the model does not
                fit the version's label set, or does not answer as it did when the
                version was registered.
            registry.onnx.session.ArtifactError: The files hold no classifier.
        """
        self.version_id = version.pk
        self.project_id = version.project_id
        self.number = version.number
        before = memory.resident()
        needed = artifacts.served_files(version)
        folder = artifacts.open_verified(version, only=needed)
        self._classifier = OnnxClassifier(folder, file_name=needed[0])
        if self._classifier.labels != list(version.label_set):
            raise artifacts.CorruptArtifact(
                f"{version}: labels.json is not the version's label set"
            )
        self._check_samples(version)
        self.multi = self._classifier.multi
        self.reading = Reading.of(version, multi=self.multi)
        """What logits say; its `codes` are what this version answers."""
        self._model = _Model(self._classifier, self.reading)
        self._batched: Batcher[str, Said] = Batcher(
            self._model,
            size=self._classifier.tokens_of,
            most=_BATCH_TOKENS,
            gather_s=_GATHER_S,
        )
        self._recent: Recent[Said] = Recent(settings.ANSWER_CACHE)
        self._columns: tuple[Rulebook, Columns] | None = None
        self._batched(_WARM_UP)
        size = int(version.manifest[needed[0]]["bytes"])
        self.bytes = max(size, memory.resident() - before)
        """Memory it takes: what the process grew by, at least the model's file."""
        # The interpreter's own end needs no trimming.
        weakref.finalize(self, memory.give_back).atexit = False

    def ask(self, texts: Sequence[str]) -> list[Said]:
        """What the model says of each text; see `then`."""
        return self.then(texts, lambda said: lambda: said)

    def then(
        self,
        texts: Sequence[str],
        begin: Callable[[list[Said]], Callable[[], Result]],
    ) -> Result:
        """What follows what the model says of each text.

        Texts that were asked lately are not run again; the others run together with
        those of requests in flight at the same time.

        Args:
            texts: At least one.
            begin: The first half of what follows, see `Batcher.then`.

        Raises:
            ModelFailed: At these texts.
            Exception: What follows failed.
        """
        keys = [text.strip() for text in texts]
        said = [self._recent.get(key) for key in keys]
        new = [i for i, known in enumerate(said) if known is None]
        if len(new) < len(keys):
            measures.count("cache", len(keys) - len(new), result="hit")
        if not new:
            return begin([one for one in said if one is not None])()
        measures.count("cache", len(new), result="miss")

        def go_on(found: list[Said]) -> Callable[[], Result]:
            for i, one in zip(new, found, strict=True):
                said[i] = one
                self._recent.put(keys[i], one)
            return begin([one for one in said if one is not None])

        return self._batched.then([keys[i] for i in new], go_on)

    def columns(self, book: Rulebook) -> Columns:
        """What this version answers under a rulebook's codes; kept until another."""
        known = self._columns
        if known is None or known[0] is not book:
            known = self._columns = book, self.reading.under(book.current)
        return known[1]

    def waiting(self) -> int:
        """How many texts wait for the model."""
        return self._batched.waiting()

    def _check_samples(self, version: Version) -> None:
        stray = samples.strays(self._classifier, version.samples)
        if not stray <= samples.TOLERANCE:
            raise artifacts.CorruptArtifact(
                _(
                    "%(version)s does not answer its sample questions as it did when it"
                    " was registered."
                )
                % {"version": version}
            )


class _Model:
    """Texts to what it says of them; called by one thread at a time."""

    def __init__(self, classifier: OnnxClassifier, reading: Reading) -> None:
        self._classifier = classifier
        self.reading = reading

    def __call__(self, texts: Sequence[str]) -> list[Said]:
        measures.observe("batch_texts", len(texts))
        try:
            with measures.stage("tokenise"):
                tokens = self._classifier.tokenise(texts)
            with measures.stage("model"):
                logits = self._classifier.run(tokens.ids)
            p = self.reading.probabilities(logits)  # (N, C)
        except Exception as error:  # ONNX Runtime raises anything
            raise ModelFailed(str(error) or type(error).__name__) from error
        if not np.isfinite(p).all():
            raise ModelFailed("the model's answer is not a number")
        # Copies: who keeps one row must not keep those of the whole batch.
        return [
            Said(row.copy(), cut) for row, cut in zip(p, tokens.was_cut, strict=True)
        ]
