"""Batches: many requests at once, answered when there is time; what is known of each, durably.

Promises: a batch is reached only with the identifier of the person whose it is; what was recorded of a line is never
recorded twice, and lines are recorded in their order.
Never: answers a request, asks the policy, or speaks a dialect.

Read in this order: `rows`.
"""

from intramural.batches.rows import MAX_LIST, OPEN, Batch, Batches, BatchState, Ending, Line, LineOutcome

__all__ = ["MAX_LIST", "OPEN", "Batch", "BatchState", "Batches", "Ending", "Line", "LineOutcome"]
