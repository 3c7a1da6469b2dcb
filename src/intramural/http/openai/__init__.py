"""The OpenAI dialect: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses`,
`/v1/conversations`.

Reading order: `shapes` (what comes in), `parse` (shape → ChatRequest), `write` (events → what goes out), then one
module per subject: `models`, `chat`, `completions`, `embeddings`; then `responses`, a package of its own, and
`conversations`.
"""
