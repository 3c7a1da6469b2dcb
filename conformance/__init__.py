"""How well each dialect is spoken: every operation, field, event and error of the published clients, tried for real.

The specification is read from the official client packages (their resources, parameter and answer types), so a newer
client brings its new cases with it and nobody can forget one. Each case is sent to a running service with real weights:

    honoured        answered, and the effect was seen
    accepted        answered; the field has no effect that an answer could show (the reason says where it goes)
    refused         an error of the dialect's own shape that names the field or the operation
    failed          anything else; every failure is listed with what came instead
    not applicable  a thing of the vendor's own cloud; the reason is listed

`make conformance` writes `docs/conformance.md`. Reading order: `stainless` and `ollama_types` (the specification),
`values` (a valid value for any type), `judge` (what an answer proves), `openai_cases`, `anthropic_cases`,
`ollama_cases` (what to send first, what effect to look for, what does not apply), `report`.
"""
