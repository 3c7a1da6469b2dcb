"""Twins of what the product talks to: real processes and objects with knobs, never patches."""
