"""The Anthropic dialect: `/v1/messages`, `/v1/messages/count_tokens`, and `/v1/models` in Anthropic's form.

Read in this order: `shapes` (what comes in), `signature`, `turns` and `parse` (shape → ChatRequest), `write` (events →
what goes out), `door` (what every route does around its work), then one module per subject: `messages`, `batches`,
`files`, `models`.
"""
