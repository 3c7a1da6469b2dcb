"""Engines on other machines, as one more kind of worker: asked by name, never started, never confined by us.

Read in this order: `breaker` (pure: is it asked at all), `fields` (pure: what each kind takes), `link` (one engine:
where it is and what is said to it), `worker` (what the pool sees).
"""
