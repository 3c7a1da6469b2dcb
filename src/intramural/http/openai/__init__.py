"""The OpenAI dialect: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses`,
`/v1/conversations`.

Read in this order: `shapes` (what comes in), `parts`, `functions` and `parse` (shape → ChatRequest), `write` (events →
what goes out), `paging`, then one module per subject: `models`, `chat`, `stored`, `completions`, `embeddings`,
`moderations`, `files`, `batches`; then `responses`, a package of its own, and `conversations`.
"""
