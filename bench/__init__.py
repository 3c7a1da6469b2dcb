"""Benchmarks: each module prints one table and says what it compares. Figures are medians of one interleaved run."""
