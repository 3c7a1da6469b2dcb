"""Random JSON schemas of the part that answers are held to: the same number, the same schema."""

import random
from typing import Any

_WORDS = ("name", "age", "city", "kind", "tags", "price", "when", "note", "size", "colour")
_PATTERNS = (r"^[A-Z]{2}-\d{3}$", r"[a-z]{3,6}", r"^(yes|no|maybe)$", r"^\d{2}:\d{2}$", r"^\w{1,8}$")
_FORMATS = ("date", "time", "date-time", "uuid", "email", "ipv4", "hostname", "uri")


def schema(number: int) -> dict[str, Any]:
    """Schema number `number`: small enough that any answer is short."""
    return _Maker(random.Random(number)).top()


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._named: dict[str, Any] = {}

    def top(self) -> dict[str, Any]:
        made = self._object(2) if self._chance.random() < 0.8 else self._any(2)
        return {**made, "$defs": self._named} if self._named else made

    def _any(self, depth: int) -> dict[str, Any]:
        kinds = [self._string, self._integer, self._number, self._choice, self._scalar]
        if depth:
            kinds += [lambda: self._object(depth - 1), lambda: self._array(depth - 1), lambda: self._union(depth - 1)]
            kinds += [lambda: self._reference(depth - 1), lambda: self._tuple(depth - 1), lambda: self._map(depth - 1)]
        made = self._chance.choice(kinds)()
        if self._chance.random() < 0.2 and "$ref" not in made:
            made["description"] = "Whatever fits."
        return made

    def _object(self, depth: int) -> dict[str, Any]:
        names = self._chance.sample(_WORDS, self._chance.randint(1, 4))
        made: dict[str, Any] = {"type": "object", "properties": {name: self._any(depth) for name in names}}
        made["required"] = [name for name in names if self._chance.random() < 0.7]
        if self._chance.random() < 0.6:
            made["additionalProperties"] = False
        return made

    def _array(self, depth: int) -> dict[str, Any]:
        least = self._chance.randint(0, 2)
        return {"type": "array", "items": self._any(depth), "minItems": least, "maxItems": least + 2}

    def _tuple(self, depth: int) -> dict[str, Any]:
        return {"type": "array", "prefixItems": [self._any(depth), self._any(0)]}

    def _map(self, depth: int) -> dict[str, Any]:
        return {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"],
                "additionalProperties": self._any(min(depth, 0))}  # fmt: skip

    def _union(self, depth: int) -> dict[str, Any]:
        if self._chance.random() < 0.5:
            return {"anyOf": [self._any(depth), {"type": "null"}]}
        tagged = [
            {
                "type": "object",
                "properties": {"is": {"const": tag}, "value": self._any(min(depth, 0))},
                "required": ["is", "value"],
                "additionalProperties": False,
            }
            for tag in ("this", "that")
        ]
        return {"oneOf": tagged}

    def _reference(self, depth: int) -> dict[str, Any]:
        name = f"n{len(self._named)}"
        self._named[name] = {}
        self._named[name] = self._any(depth)
        reference = {"$ref": f"#/$defs/{name}"}
        return reference if self._chance.random() < 0.7 else {"allOf": [reference]}

    def _string(self) -> dict[str, Any]:
        way = self._chance.randint(0, 3)
        if way == 0:
            return {"type": "string", "pattern": self._chance.choice(_PATTERNS)}
        if way == 1:
            return {"type": "string", "format": self._chance.choice(_FORMATS)}
        least = self._chance.randint(0, 3)
        return {"type": "string", "minLength": least, "maxLength": least + self._chance.randint(1, 12)}

    def _integer(self) -> dict[str, Any]:
        low = self._chance.randint(-50, 50)
        made: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": low + self._chance.randint(5, 100)}
        if self._chance.random() < 0.3:
            made["multipleOf"] = self._chance.choice((2, 5))
        if self._chance.random() < 0.2:
            made["exclusiveMaximum"] = made.pop("maximum")
        return made

    def _number(self) -> dict[str, Any]:
        low = self._chance.randint(-5, 5)
        words = self._chance.choice((("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")))
        return {"type": "number", words[0]: low, words[1]: low + self._chance.choice((1, 2.5, 100))}

    def _choice(self) -> dict[str, Any]:
        values = self._chance.choice((["red", "green", "blue"], [1, 2, 3.5], ["a", 7, None, True], [["x"], {"y": 1}]))
        if self._chance.random() < 0.3:
            return {"const": self._chance.choice(values)}
        return {"enum": values}

    def _scalar(self) -> dict[str, Any]:
        return {"type": self._chance.choice(("boolean", "null", ["boolean", "null"]))}
