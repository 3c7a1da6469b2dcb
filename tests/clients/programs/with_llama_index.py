"""LlamaIndex with its OpenAI-like model and embedding."""

import json
import os

from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

address, key, model = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY", "MODEL"))
llm = OpenAILike(api_base=f"{address}/v1", api_key=key, model=model, is_chat_model=True, max_tokens=12)
plain = OpenAILike(api_base=f"{address}/v1", api_key=key, model=model, is_chat_model=False, max_tokens=12)
embedding = OpenAILikeEmbedding(api_base=f"{address}/v1", api_key=key, model_name=model)
hello = [ChatMessage(role="user", content="Say hello.")]
print(
    json.dumps(
        {
            "chat": llm.chat(hello).message.content,
            "stream": "".join(part.delta or "" for part in llm.stream_chat(hello)),
            "complete": plain.complete("The sea is").text,
            "embedding": len(embedding.get_text_embedding("a river")),
        }
    )
)
