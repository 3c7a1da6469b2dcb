"""LiteLLM as a client, in three dialects."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks a web site for prices when imported

import litellm

address, key, model = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY", "MODEL"))
hello = [{"role": "user", "content": "Say hello."}]


def ask(name: str, base: str, **more: object) -> str:
    answer = litellm.completion(
        model=f"{name}/{model}", api_base=base, api_key=key, messages=hello, max_tokens=12, **more
    )
    return answer.choices[0].message.content


stream = litellm.completion(
    model=f"openai/{model}", api_base=f"{address}/v1", api_key=key, messages=hello, max_tokens=12, stream=True
)
embedding = litellm.embedding(model=f"openai/{model}", api_base=f"{address}/v1", api_key=key, input=["a river"])
print(
    json.dumps(
        {
            "openai": ask("openai", f"{address}/v1"),
            "anthropic": ask("anthropic", address),
            "ollama": ask("ollama_chat", address),
            "stream": "".join(part.choices[0].delta.content or "" for part in stream),
            "embedding": len(embedding.data[0]["embedding"]),
        }
    )
)
