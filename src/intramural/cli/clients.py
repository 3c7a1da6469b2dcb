"""How common programs are pointed at this service: pure text, one function for each. `connect` prints or writes it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: Where programs look for the key. A key never stands in a file unless its owner gave it on the command line.
KEY_VARIABLE = "INTRAMURAL_API_KEY"


@dataclass(frozen=True, slots=True)
class Told:
    """What a program must know. `address` has no path; `key` None: the program shall read `KEY_VARIABLE`."""

    address: str
    model: str
    context_tokens: int
    key: str | None = None

    @property
    def openai(self) -> str:
        """The base URL of clients that speak OpenAI's dialect."""
        return f"{self.address}/v1"

    @property
    def shown_key(self) -> str:
        """The key, or the variable as a shell writes it."""
        return self.key or f"${KEY_VARIABLE}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What to put where. `file` is below the home directory; None: there is nothing that could be written.

    `kind` says how `content` gets into a file that exists: a JSON object is merged, a TOML table is added at the end, a
    whole file is only ever made anew. `then` is what to do afterwards.
    """

    content: str
    file: str | None = None
    kind: Literal["json", "toml", "whole"] = "whole"
    then: tuple[str, ...] = ()
    holds_key: bool = field(default=False)


def curl(told: Told) -> Settings:
    body = json.dumps({"model": told.model, "messages": [{"role": "user", "content": "Hello"}]})
    return Settings(
        f"curl {told.openai}/chat/completions \\\n"
        f'  -H "Authorization: Bearer {told.shown_key}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def python(told: Told) -> Settings:
    key = json.dumps(told.key) if told.key else f'os.environ["{KEY_VARIABLE}"]'
    return Settings(
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{told.openai}", api_key={key})\n'
        f'answer = client.responses.create(model="{told.model}", input="Hello")\n'
        "print(answer.output_text)",
        then=("pip install openai",),
    )


def node(told: Told) -> Settings:
    key = json.dumps(told.key) if told.key else f"process.env.{KEY_VARIABLE}"
    return Settings(
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{told.openai}", apiKey: {key} }});\n'
        f'const answer = await client.responses.create({{ model: "{told.model}", input: "Hello" }});\n'
        "console.log(answer.output_text);",
        then=("npm install openai",),
    )


def claude_code(told: Told) -> Settings:
    variables = {
        "ANTHROPIC_BASE_URL": told.address,
        "ANTHROPIC_MODEL": told.model,
        "ANTHROPIC_SMALL_FAST_MODEL": told.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    if told.key:
        variables["ANTHROPIC_AUTH_TOKEN"] = told.key
    return Settings(
        _json({"env": variables}),
        ".claude/settings.json",
        "json",
        () if told.key else (f"export ANTHROPIC_AUTH_TOKEN=${KEY_VARIABLE}",),
        holds_key=bool(told.key),
    )


def codex(told: Told) -> Settings:
    return Settings(
        "[model_providers.intramural]\n"
        'name = "intramural"\n'
        f'base_url = "{told.openai}"\n'
        f'env_key = "{KEY_VARIABLE}"\n'
        'wire_api = "responses"',
        ".codex/config.toml",
        "toml",
        (_export(told), f"codex -c model_provider=intramural -m {told.model}"),
    )


def opencode(told: Told) -> Settings:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "intramural",
        "options": {"baseURL": told.openai, "apiKey": told.key or f"{{env:{KEY_VARIABLE}}}"},
        "models": {told.model: {"name": told.model, "limit": {"context": told.context_tokens, "output": 4096}}},
    }
    return Settings(
        _json(
            {
                "$schema": "https://opencode.ai/config.json",
                "provider": {"intramural": provider},
                "model": f"intramural/{told.model}",
            }
        ),
        ".config/opencode/opencode.json",
        "json",
        () if told.key else (_export(told),),
        holds_key=bool(told.key),
    )


def zed(told: Told) -> Settings:
    model = {"name": told.model, "display_name": told.model, "max_tokens": told.context_tokens}
    provider = {"api_url": told.openai, "available_models": [model]}
    return Settings(
        _json({"language_models": {"openai_compatible": {"intramural": provider}}}),
        ".config/zed/settings.json",
        "json",
        (f"{_export(told)}   # before Zed is started", "choose the model in the agent panel"),
    )


def continue_(told: Told) -> Settings:
    return Settings(
        "name: intramural\n"
        "version: 0.0.1\n"
        "schema: v1\n"
        "models:\n"
        f"  - name: {_quoted(told.model)}\n"
        "    provider: openai\n"
        f"    model: {_quoted(told.model)}\n"
        f"    apiBase: {_quoted(told.openai)}\n"
        f"    apiKey: {_quoted(told.key or '${{ secrets.' + KEY_VARIABLE + ' }}')}\n"
        "    roles: [chat, edit, apply]",
        ".continue/config.yaml",
        "whole",
        () if told.key else (f"put the key into ~/.continue/.env:  {KEY_VARIABLE}=im-…",),
        holds_key=bool(told.key),
    )


def cline(told: Told) -> Settings:
    return _by_hand(
        told,
        "In Cline's settings choose the API provider `OpenAI Compatible` and enter:",
        {"Base URL": told.openai, "Model ID": told.model, "Context window size": str(told.context_tokens)},
        "API Key",
    )


def open_webui(told: Told) -> Settings:
    return Settings(
        f"OPENAI_API_BASE_URL={told.openai}\nOPENAI_API_KEY={told.shown_key}\nENABLE_OLLAMA_API=false",
        then=("start Open WebUI with these environment variables, or enter them under Admin Settings, Connections",),
    )


def n8n(told: Told) -> Settings:
    return _by_hand(
        told,
        "In n8n create a credential of the type `OpenAI` and enter:",
        {"Base URL": told.openai},
        "API Key",
        f"in the OpenAI Chat Model node choose the model `{told.model}` from the list",
    )


#: Name on the command line → (what it is, its settings).
CLIENTS: Mapping[str, tuple[str, Callable[[Told], Settings]]] = {
    "curl": ("a command to paste", curl),
    "python": ("the official OpenAI client for Python", python),
    "node": ("the official OpenAI client for Node", node),
    "continue": ("Continue, an extension of VS Code and JetBrains", continue_),
    "cline": ("Cline, an extension of VS Code", cline),
    "open-webui": ("Open WebUI", open_webui),
    "n8n": ("n8n", n8n),
    "claude-code": ("Claude Code", claude_code),
    "codex": ("Codex CLI", codex),
    "opencode": ("OpenCode", opencode),
    "zed": ("Zed", zed),
}


def merged(existing: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """`existing` with `added` laid over it: objects member by member, everything else replaced."""
    result = dict(existing)
    for name, value in added.items():
        before = result.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[name] = merged(before, value) if both else value  # type: ignore[arg-type]  # both are mappings then
    return result


def _by_hand(told: Told, head: str, values: Mapping[str, str], key_name: str, *then: str) -> Settings:
    rows = {**values, key_name: told.key or "a key from the page, or `intramural key add`"}
    width = max(map(len, rows)) + 2
    return Settings("\n".join([head, *(f"  {name:{width}}{value}" for name, value in rows.items())]), then=then)


def _export(told: Told) -> str:
    return f"export {KEY_VARIABLE}={told.key or 'im-…'}"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2)


def _quoted(text: str) -> str:
    return json.dumps(text)
