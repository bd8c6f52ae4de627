"""A plan carried out: the only room where what trains and what concludes meet.

- `work`: some trials of a compile group: what a worker gets, runs and returns; `outcomes`: what came of a trial.
- `jobs`: what is left to run, of a contender or of the reruns that set targets.
- `whole_run`: from an experiment to its summary.
- `runner`: rounds and phases; `slots`: keeps workers busy, stores what they return; `lost_trials`: whose worker ended.
- `guard`: whether one's own code still computes what it did when its stored trials ran.
- `resources`: what a run may use.
- `executor`: this process as an executor; `processes`: workers of this machine; `dask_workers`: of a cluster;
  `executors`: which of them a run asks for.
- `nursery`: the workers' parent process; `worker_process`: a worker; `worker_handle`: as the run sees it; `lease`: what
  it has in hand.
- `parcels`: values with the code that they need, to be opened in another process; `by_value`: how they are pickled.
- `races`: which contenders are timed side by side; `step_times`: before training, for budgets of seconds.
- `progress`: what a run reports while it goes on; `course`: how far it has come; `time_left`: how long it goes on;
  `displays`: how that is shown.
- `own_code`: what is one's own in a plan, kept in the run folder and bound again.
- `checkpoints`: files that a killed trial goes on from.
- `keeping`: the best models, kept at the end of a run; `models`: those, or trained again; `packed_models`: as bytes.
- `replay`: runs a stored trial again; `bit_comparison`: beside the stored one; `single_trial`: trains one by hand.
- `simulation`: plans played without training, in worlds where the truth is known; `truths`: which claims hold there.
- `deep_doctor`: studies whose truth is known: whether verdicts say it; `self_deceptions`: those that are trained.
"""

__all__ = [
    "bit_comparison",
    "by_value",
    "checkpoints",
    "course",
    "dask_workers",
    "deep_doctor",
    "displays",
    "executor",
    "executors",
    "guard",
    "jobs",
    "keeping",
    "lease",
    "lost_trials",
    "models",
    "nursery",
    "outcomes",
    "own_code",
    "packed_models",
    "parcels",
    "processes",
    "progress",
    "races",
    "replay",
    "resources",
    "runner",
    "self_deceptions",
    "simulation",
    "single_trial",
    "slots",
    "step_times",
    "time_left",
    "truths",
    "whole_run",
    "work",
    "worker_handle",
    "worker_process",
]
