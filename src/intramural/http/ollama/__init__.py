"""The Ollama dialect, below `/api`: chat and generate, embeddings, and the keeping of models.

An adapter and nothing else: what is asked becomes a `ChatRequest`, what comes back lines of JSON.
`docs/dialects/ollama.md` says field by field what is honoured, what is refused by name, and what has no effect and is
said to have none.

Read in this order: `names`, `shapes` (what comes in), `options`, `making` and `parse` (shape → ChatRequest), `write`
(events → what goes out), `progress`, `abilities` and `describe` (what a model is), `keeping`, `answering`, `vectors`,
then one module per subject: `chat`, `embed`, `models`, `shelf`, `about`.
"""

from intramural.http.ollama import about, chat, embed, models, shelf
from intramural.http.ollama.about import GREETING

MODULES = (chat, embed, models, shelf, about)

__all__ = ["GREETING", "MODULES"]
