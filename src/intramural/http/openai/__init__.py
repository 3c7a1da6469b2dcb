"""The OpenAI dialect: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`.

Reading order: `shapes` (what comes in), `parse` (shape → ChatRequest), `write` (events → what goes out), then one
module per subject: `models`, `chat`, `completions`, `embeddings`.
"""
