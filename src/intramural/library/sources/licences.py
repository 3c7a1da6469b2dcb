"""What a licence text is, in a word: sources that carry only the text (Ollama's do) get a name for the manifest."""

import re

#: Most of a licence text that is looked at; the longest known is a tenth of it.
MAX_LICENCE_BYTES = 256 * 1024
UNKNOWN = "unknown"
_MAX_CHARACTERS = 80
#: (what the beginning says, SPDX identifier where there is one, else the licence's own name). The first that fits.
_KNOWN = (
    (r"apache license\s+version 2\.0", "Apache-2.0"),
    (r"mit license|permission is hereby granted, free of charge", "MIT"),
    (r"llama 4 community license", "LicenseRef-Llama-4-Community"),
    (r"llama 3\.3 community license", "LicenseRef-Llama-3.3-Community"),
    (r"llama 3\.2 community license", "LicenseRef-Llama-3.2-Community"),
    (r"llama 3\.1 community license", "LicenseRef-Llama-3.1-Community"),
    (r"meta llama 3 community license", "LicenseRef-Llama-3-Community"),
    (r"llama 2 community license", "LicenseRef-Llama-2-Community"),
    (r"gemma terms of use", "LicenseRef-Gemma"),
    (r"deepseek license agreement", "LicenseRef-DeepSeek"),
    (r"qwen research license", "LicenseRef-Qwen-Research"),
    (r"tongyi qianwen license", "LicenseRef-Tongyi-Qianwen"),
    (r"mistral ai research license", "LicenseRef-Mistral-Research"),
    (r"mistral ai non-production license", "LicenseRef-Mistral-Non-Production"),
    (r"bigscience.{0,20}rail", "LicenseRef-BigScience-RAIL"),
    (r"falcon.{0,20}license", "LicenseRef-Falcon"),
    (r"creative commons attribution-noncommercial 4\.0", "CC-BY-NC-4.0"),
    (r"creative commons attribution 4\.0", "CC-BY-4.0"),
    (r"gnu affero general public license\s+version 3", "AGPL-3.0-only"),
    (r"gnu general public license\s+version 3", "GPL-3.0-only"),
    (r"redistribution and use in source and binary forms.*neither the name", "BSD-3-Clause"),
)
_EXPRESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+() -]{0,79}")


def licence_of(text: str) -> str:
    """The SPDX identifier of a licence text, `LicenseRef-…` for a known one without, else its first words."""
    beginning = " ".join(text[:20_000].lower().split())
    for pattern, name in _KNOWN:
        if re.search(pattern, beginning):
            return name
    for line in text.splitlines():
        words = "".join(each for each in line if each.isprintable()).strip(" #*=-")
        if words:
            return words[:_MAX_CHARACTERS]
    return UNKNOWN


def licence_expression(text: str) -> str | None:
    """`text` if it may be an SPDX expression (that is its characters; nobody looks it up), else None."""
    return text if _EXPRESSION.fullmatch(text) else None
