"""Pydantic AI: a typed answer and a tool, over OpenAI's and Anthropic's dialect."""

import json
import os

from pydantic import BaseModel, Field
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

address, key, name = (os.environ[f"INTRAMURAL_{each}"] for each in ("ADDRESS", "KEY", "MODEL"))


class City(BaseModel):
    """A city."""

    city: str = Field(max_length=20)
    country: str = Field(max_length=20)


provider = OpenAIProvider(base_url=f"{address}/v1", api_key=key)
settings = {"max_tokens": 200}
chat = OpenAIChatModel(name, provider=provider, settings=settings)
responses = OpenAIResponsesModel(name, provider=provider, settings=settings)
claude = AnthropicModel(name, provider=AnthropicProvider(base_url=address, api_key=key), settings=settings)
city = Agent(chat, output_type=City, retries=3).run_sync("Oslo is in Norway.").output
short = {"max_tokens": 16}
print(
    json.dumps(
        {
            "typed": [type(city.city).__name__, type(city.country).__name__],
            "chat": Agent(chat).run_sync("Say hello.", model_settings=short).output,
            "responses": Agent(responses).run_sync("Say hello.", model_settings=short).output,
            "anthropic": Agent(claude).run_sync("Say hello.", model_settings=short).output,
        }
    )
)
