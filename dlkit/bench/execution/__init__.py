"""A plan carried out: the only room where what trains and what concludes meet.

- `work`: some trials of a compile group, and how this process runs them.
- `runner`: rounds, phases, slots.
- `executor`: this process as an executor; `dask_workers`: one process a core, or a cluster.
- `races`: who is timed beside whom.
- `progress`: who hears how a run goes.
- `replay`: a stored trial again; `single_trial`: one trial by hand.
"""

__all__ = ["dask_workers", "executor", "progress", "races", "replay", "runner", "single_trial", "work"]
