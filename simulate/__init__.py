"""A whole service inside one thread and one number: scheduler, pool, inference, meter, quotas, log and database are the
real ones; time, chance, threads, workers and the ends of the process are made here. See docs/simulation.md.

Read in this order: `plan` (what a seed decides; pure) · `loop` (time) · `disk` (the database's threads and faults) ·
`worker` (engines and the wires to them) · `life` (one start of the service, and its end) · `people` (who ask) ·
`witness` (what was promised, and whether it was kept) · `run` (one seed) · `__main__` (many).
"""
