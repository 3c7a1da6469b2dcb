"""Instructor: typed answers, by tool call and by JSON schema."""

import json
import os

import instructor
from openai import OpenAI
from pydantic import BaseModel, Field

model = os.environ["INTRAMURAL_MODEL"]
openai = OpenAI(base_url=os.environ["INTRAMURAL_ADDRESS"] + "/v1", api_key=os.environ["INTRAMURAL_KEY"])


class Person(BaseModel):
    """Somebody."""

    name: str = Field(max_length=20)
    age: int


def ask(mode: instructor.Mode) -> list[str]:
    client = instructor.from_openai(openai, mode=mode)
    messages = [{"role": "user", "content": "Ada is 36 years old."}]
    person = client.chat.completions.create(model=model, response_model=Person, messages=messages, max_tokens=200)
    return [type(person.name).__name__, type(person.age).__name__]


print(json.dumps({"tools": ask(instructor.Mode.TOOLS), "schema": ask(instructor.Mode.JSON_SCHEMA)}))
