"""LangChain with its OpenAI, Anthropic and Ollama integrations."""

import json
import os

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

address, key, model = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY", "MODEL"))


class Person(BaseModel):
    """Somebody."""

    name: str = Field(max_length=20)
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


chat = ChatOpenAI(base_url=f"{address}/v1", api_key=key, model=model, max_tokens=200)
embeddings = OpenAIEmbeddings(base_url=f"{address}/v1", api_key=key, model=model, check_embedding_ctx_length=False)
claude = ChatAnthropic(base_url=address, api_key=key, model=model, max_tokens=12)
headers = {"Authorization": f"Bearer {key}"}
ollama = ChatOllama(base_url=address, model=model, num_predict=12, client_kwargs={"headers": headers})
person = chat.with_structured_output(Person).invoke("Ada is 36 years old.")
called = chat.bind_tools([weather], tool_choice="any").invoke("What is the weather in Oslo?")
print(
    json.dumps(
        {
            "chat": chat.bind(max_tokens=12).invoke("Say hello.").content,
            "stream": "".join(str(part.content) for part in chat.bind(max_tokens=12).stream("Say hello.")),
            "person": [type(person.name).__name__, type(person.age).__name__],
            "tool": called.tool_calls[0]["name"],
            "embedding": len(embeddings.embed_query("a river")),
            "anthropic": claude.invoke("Say hello.").content,
            "ollama": ollama.invoke("Say hello.").content,
        }
    )
)
