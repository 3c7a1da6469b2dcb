"""The Anthropic dialect: `/v1/messages`, `/v1/messages/count_tokens`, and `/v1/models` in Anthropic's form.

Reading order: `shapes` (what comes in), `parse` (shape → ChatRequest), `write` (events → what goes out), `door` (what
every route does around its work), then one module per subject: `messages`, `models`.
"""
