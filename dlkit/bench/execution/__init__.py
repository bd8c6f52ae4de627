"""A plan carried out: the only room where what trains and what concludes meet.

- `work`: some trials of a compile group: what a worker gets, runs and returns; `outcomes`: what came of a trial.
- `jobs`: what is left to run, of a contender or of the reruns that set targets.
- `whole_run`: from an experiment to its summary.
- `runner`: rounds; `slots`: keeps workers busy, stores what they return; `assignment`: which of them does what;
  `lost_trials`: whose worker ended.
- `guard`: whether one's own code still computes what it did when its stored trials ran.
- `resources`: what a run may use.
- `executor`: this process as an executor; `processes`: workers of this machine; `together`: several that train each
  trial together; `executors`: which of them a run asks for.
- `nursery`: the workers' parent process; `worker_process`: a worker; `worker_handle`: as the run sees it; `lease`: what
  it is at; `in_hand`: with which task, and for how long without a sign; `messages`: what both say.
- `cluster`: workers that join, leave and die, on other machines; `newcomers`: what those are that come; `worker_side`:
  what they do; `certificates`: who they are; `connection`: to their scheduler; `batch_system`: as jobs of SLURM or PBS;
  `job_options`: what these ask for; `memory`: how much, as it is written; `waiting`: for the first of them.
- `parcels`: values with the code that they need, to be opened in another process; `by_value`: how they are pickled.
- `races`: which contenders are timed side by side; `step_times`: before training, for budgets of seconds.
- `progress`: what a run reports while it goes on; `course`: how far it has come; `time_left`: how long it goes on;
  `displays`: how that is shown.
- `own_code`: what is one's own in a plan, kept in the run folder and bound again; `known_code`: which of it was made
  here.
- `checkpoints`: files that a killed trial goes on from.
- `keeping`: the best models, kept at the end of a run; `models`: those, or trained again; `packed_models`: as bytes.
- `replay`: runs stored trials again; `replay_tasks`: in other processes; `bit_comparison`: beside the stored ones.
- `single_trial`: trains one by hand.
- `simulation`: plans played without training, in worlds where the truth is known; `truths`: which claims hold there.
- `deep_doctor`: studies whose truth is known: whether verdicts say it; `self_deceptions`: those that are trained.
"""

__all__ = [
    "assignment",
    "batch_system",
    "bit_comparison",
    "by_value",
    "certificates",
    "checkpoints",
    "cluster",
    "connection",
    "course",
    "deep_doctor",
    "displays",
    "executor",
    "executors",
    "guard",
    "in_hand",
    "job_options",
    "jobs",
    "keeping",
    "known_code",
    "lease",
    "lost_trials",
    "memory",
    "messages",
    "models",
    "newcomers",
    "nursery",
    "outcomes",
    "own_code",
    "packed_models",
    "parcels",
    "processes",
    "progress",
    "races",
    "replay",
    "replay_tasks",
    "resources",
    "runner",
    "self_deceptions",
    "simulation",
    "single_trial",
    "slots",
    "step_times",
    "time_left",
    "together",
    "truths",
    "waiting",
    "whole_run",
    "work",
    "worker_handle",
    "worker_process",
    "worker_side",
]
