"""Small faults, each of which a named test must find: what a slip of a hand may do, in formulas and in the wiring.

A fault replaces a text, which stands exactly once in exactly one of the files that a pattern names, by another. It is
found if its test fails then. So the tests are tested: a rewrite of them that asserts less shows here.
"""

from typing import NamedTuple

__all__ = ["FAULTS", "Fault"]


class Fault(NamedTuple):
    """A fault.

    Attributes:
        name: what goes wrong.
        where: pattern of the files that it may be in, from the repository's root.
        old: the text that is replaced.
        new: the text in its place.
        test: the test that must find it, as pytest calls it, without ``tests/``.
    """

    name: str
    where: str
    old: str
    new: str
    test: str


TRAINING = "dlkit/bench/training/*.py"
PLAN = "dlkit/bench/plan/*.py"
SPEC = "dlkit/bench/spec/*.py"
TUNING = "dlkit/bench/tuning/*.py"
STORE = "dlkit/bench/store/*.py"
ANALYSIS = "dlkit/bench/analysis/*.py"
EXECUTION = "dlkit/bench/execution/*.py"
STATS = "dlkit/bench/stats/*.py"
DATA = "dlkit/bench/data/*.py"

STREAMS = "bench/wiring/test_streams.py::"
PRECEDENCE = "bench/wiring/test_precedence.py::"
IDENTITIES = "bench/wiring/test_identities.py::"
RUNS = "bench/wiring/test_runs.py::"
CONCLUSIONS = "bench/wiring/test_conclusions.py::"
VERDICTS = "bench/analysis/test_verdict.py::"
BLOCKS = "bench/analysis/test_contender_result.py::"
SETTLED = "bench/analysis/test_settling.py::"
DOUBTED = "bench/tuning/test_doubts.py::"
STUDIES = "bench/wiring/test_studies.py::"
GUARDED = "bench/execution/test_guard.py::"

RANDOM_STREAMS = [
    Fault(
        "the data order forgets the stage",
        TRAINING,
        " << 32 | stage, seed",
        " << 32, seed",
        STREAMS + "test_the_order_of_the_data",
    ),
    Fault(
        "the data order forgets the epoch",
        TRAINING,
        "seed << 32 | epoch]",
        "seed << 32]",
        "bench/training/test_program.py::TestDataOrder::test_epochs_are_permutations_of_philox_without_the_remainder",
    ),
    Fault(
        "a fixed order is shuffled again",
        TRAINING,
        "0 if is_fixed else epoch",
        "epoch",
        "bench/training/test_data_order.py::test_a_fixed_order_is_the_first_permutation_again_and_again",
    ),
    Fault(
        "a trial's order does not reach its batches",
        TRAINING,
        "kind = order or problem.order",
        "kind = problem.order",
        "bench/training/test_data_order.py::test_orders_train_in_one_program_and_each_on_its_own_batches",
    ),
    Fault(
        "what has Adam's moments is an Adam",
        "dlkit/bench/probes/*.py",
        "return max(shares)",
        "return 0.0",
        "bench/probes/test_probes.py::test_adams_moments_do_not_make_an_adam[radam]",
    ),
    Fault(
        "a weight's draw forgets its name",
        "dlkit/bench/problems/*.py",
        'zlib.crc32("/".join(path).encode())',
        "0",
        "bench/problems/test_initialization.py::test_draws_follow_from_names_and_seeds_alone",
    ),
    Fault(
        "a probe is given the step after the last",
        TRAINING,
        "step = jnp.maximum(carry.step - 1, 0)",
        "step = carry.step",
        "bench/probes/test_own_probes.py::test_each_player_of_a_game_is_looked_at_on_its_own[alternating]",
    ),
    Fault(
        "one's own probe is no part of a trial",
        SPEC,
        '("probes", any(plan.probes.values()))',
        '("probes", False)',
        "bench/probes/test_own_probes.py::test_what_a_probe_computes_is_part_of_final_trials",
    ),
    Fault(
        "all batches are the first",
        TRAINING,
        "stage, seed, 0, number + 1)",
        "stage, seed, 0, 1)",
        "bench/training/test_data_order.py::test_iid_batches_are_uniform_and_independent",
    ),
    Fault(
        "a trial's keys forget the stage",
        TRAINING,
        "[name, STAGES[one.stage], one.seed]",
        "[name, 1, one.seed]",
        STREAMS + "test_initial_parameters",
    ),
    Fault(
        "the optimizer's own key is that of the steps",
        TRAINING,
        '(b"init", b"steps", b"optimizer")',
        '(b"init", b"steps", b"steps")',
        STREAMS + "test_the_optimizers_own_key",
    ),
    Fault(
        "every step has the same key",
        TRAINING,
        "key_step = jax.random.fold_in(key, carry.step)",
        "key_step = key",
        STREAMS + "test_the_key_of_every_step",
    ),
    Fault(
        "a step has the next one's key",
        TRAINING,
        "key_step = jax.random.fold_in(key, carry.step)",
        "key_step = jax.random.fold_in(key, carry.step + 1)",
        STREAMS + "test_the_key_of_every_step",
    ),
    Fault(
        "a probe sees the next step's learning rate",
        TRAINING,
        "sight.hyperparameters, step, name)",
        "sight.hyperparameters, step + 1, name)",
        STREAMS + "test_a_probe_sees_the_last_step_its_rate_and_its_examples",
    ),
    Fault(
        "a probe has the key of the step before",
        TRAINING,
        'zlib.crc32(b"probes")), carry.step)',
        'zlib.crc32(b"probes")), carry.step - 1)',
        STREAMS + "test_a_probes_key_is_that_of_its_purpose_and_step",
    ),
    Fault(
        "a probe sees the examples of an interval's first step",
        TRAINING,
        "indices[-1]",
        "indices[0]",
        STREAMS + "test_a_probe_sees_the_last_step_its_rate_and_its_examples",
    ),
    Fault(
        "players' optimizers share a key",
        TRAINING,
        "jax.random.fold_in(key, zlib.crc32(player.encode())) if player else key",
        "key",
        STREAMS + "test_every_player_and_every_move_has_a_key_of_its_own",
    ),
    Fault(
        "a player's moves share a key",
        TRAINING,
        "zlib.crc32(player.name.encode())), number)",
        "zlib.crc32(player.name.encode())), 0)",
        STREAMS + "test_every_player_and_every_move_has_a_key_of_its_own",
    ),
    Fault(
        "every lane starts from the first one's metrics",
        TRAINING,
        "_lane(start_metrics, lane, alone)",
        "_lane(start_metrics, 0, alone)",
        STREAMS + "test_the_place_among_lanes_changes_nothing",
    ),
    Fault(
        "all studies train on the seeds of the first",
        PLAN,
        "(self.tuner.first_study + study) * STUDY_SEEDS",
        "self.tuner.first_study * STUDY_SEEDS",
        STUDIES + "test_seeds_of_studies_never_meet",
    ),
    Fault(
        "a replication trains on the seeds of the first run",
        PLAN,
        "(self.tuner.first_study + study) * STUDY_SEEDS",
        "study * STUDY_SEEDS",
        STUDIES + "test_seeds_of_studies_never_meet",
    ),
    Fault(
        "winners of all studies meet on the same seeds",
        PLAN,
        "range(first, first + self.seeds + added)",
        "range(self.seeds + added)",
        STUDIES + "test_contenders_share_the_seeds_of_a_study_and_no_others",
    ),
    Fault(
        "contenders of another draw try the same points",
        PLAN,
        "return study + draw * DRAW_SEEDS",
        "return study",
        STUDIES + "test_contenders_of_a_draw_try_the_same_places",
    ),
    Fault(
        "studies that are added have the points of the first",
        ANALYSIS,
        "seed=plan.draw_seed(contender, study)",
        "seed=plan.draw_seed(contender, 0)",
        STUDIES + "test_added_studies_are_those_that_a_larger_budget_has",
    ),
    Fault(
        "targets move with the studies that are added",
        TUNING,
        "for study in range(history.plan.tuner.studies) if sets_targets",
        "for study in history.plan.studies(problem, contender) if sets_targets",
        "bench/tuning/test_targets.py::test_the_best_of_all_planned_studies_winners_sets_targets",
    ),
    Fault(
        "a single study gets the defaults of each of several",
        SPEC,
        "OF_EACH_STUDY if self.studies > 1 else OF_ONE_STUDY",
        "OF_EACH_STUDY",
        "bench/spec/test_budget.py::test_what_is_open_follows_the_number_of_studies",
    ),
    Fault(
        "what one's own code computes is no part of a trial",
        PLAN,
        'identity["program"] = deciding',
        "pass",
        IDENTITIES + "test_a_trials_identity",
    ),
    Fault(
        "a worker trusts the code that it gets",
        EXECUTION,
        "        require_same_programs(group)\n",
        "",
        "bench/execution/test_kept_programs.py::test_a_group_that_computes_something_else_is_refused",
    ),
    Fault(
        "JAX remembers a function that reads something else now",
        SPEC,
        "        forget_traces()  #",
        "        pass  #",
        "bench/wiring/test_edited_code.py::test_a_notebooks_constant",
    ),
    Fault(
        "programs of the user's own outlive their run",
        EXECUTION,
        "        forget_own_programs()\n",
        "        pass\n",
        "bench/execution/test_kept_programs.py::test_what_computes_the_same_is_compiled_once_and_dropped_at_the_end",
    ),
    Fault(
        "only the first study's winner is timed",
        EXECUTION,
        "for study in history.plan.studies(problem, contender):\n"
        "        tuning = tune(history, problem, contender, study=study)\n        if",
        "for study in (0,):\n        tuning = tune(history, problem, contender, study=study)\n        if",
        "bench/execution/test_races.py::test_a_race_is_between_the_first_studies_that_found_a_winner",
    ),
    Fault(
        "every final seed has samples",
        EXECUTION,
        'trial.stage == "final" and trial.seed == sampled_seed',
        'trial.stage == "final"',
        "bench/report/test_samples.py::test_a_run_keeps_the_samples_of_the_first_studys_first_seed_alone",
    ),
    Fault(
        "every study draws the same points beforehand",
        SPEC,
        "draw(seed=draw_seed(number, entry.draw))",
        "draw(seed=draw_seed(0, entry.draw))",
        "bench/tuning/test_search.py::test_studies_share_no_point_and_no_seed[halton]",
    ),
    Fault(
        "every study draws the same points while a run goes on",
        TUNING,
        "count, seed=seed)[before:]",
        "count, seed=0)[before:]",
        STREAMS + "test_points_that_are_drawn_while_a_run_goes_on_are_those_of_their_study",
    ),
    Fault(
        "targets are set on final seeds",
        PLAN,
        'winner, "target", seed)',
        'winner, "final", seed)',
        "bench/tuning/test_targets.py::test_the_best_tuned_baseline_is_trained_again_on_seeds_of_its_own",
    ),
]

WHO_OVERRIDES_WHOM = [
    Fault(
        "the budget's steps override a problem entry's",
        SPEC,
        "budget = experiment.budget if entry.steps is None else",
        "budget = experiment.budget if True else",
        PRECEDENCE + "test_who_overrides_whom[entry's steps]",
    ),
    Fault(
        "choices may change a problem's metrics",
        SPEC,
        "!= facts.data or problem.metrics != facts.metrics:",
        "!= facts.data:",
        PRECEDENCE + "test_choices_that_change_the_question_are_for_the_problem",
    ),
    Fault(
        "a contender without early stopping gets the experiment's",
        SPEC,
        "experiment.early_stopping if entry.early_stopping is None else entry.early_stopping or None",
        "entry.early_stopping or experiment.early_stopping",
        PRECEDENCE + "test_who_overrides_whom[contender that never stops]",
    ),
    Fault(
        "a problem's own target overrides the experiment's rule",
        SPEC,
        "own_target = None if experiment.targets else problem.target",
        "own_target = problem.target",
        "bench/tuning/test_targets.py::test_baselines_run_first_and_challengers_change_nothing",
    ),
    Fault(
        "a factor overrides what a contender sets",
        SPEC,
        "for name, values in factors.items() if name not in own}",
        "for name, values in factors.items()}",
        PRECEDENCE + "test_who_overrides_whom[contender's batch, factor's]",
    ),
    Fault(
        "a contender's settings of its schedule are lost",
        SPEC,
        "narrow(schedule.space, own, owner=",
        "narrow(schedule.space, {}, owner=",
        PRECEDENCE + "test_who_overrides_whom[contender's setting]",
    ),
    Fault(
        "a problem's choices override a contender's in its identity",
        PLAN,
        "{**problem.choices, **contender.choices}",
        "{**contender.choices, **problem.choices}",
        "bench/spec/test_choices.py::test_choices_are_in_the_trials_identity_once",
    ),
    Fault(
        "a problem's choices override a contender's in its program",
        SPEC,
        "chosen = {**dict(self.choices), **choices}",
        "chosen = {**choices, **dict(self.choices)}",
        "bench/spec/test_choices.py::test_values_to_tune_over_are_compiled_each_on_its_own",
    ),
    Fault(
        "a contender's batch size is not trained",
        SPEC,
        ".with_batches_of(contender).with_choices(choices)",
        ".with_choices(choices)",
        PRECEDENCE + "test_who_overrides_whom[contender's batch]",
    ),
    Fault(
        "successive halving does not reach the plan",
        SPEC,
        "halving=budget.halving,",
        "",
        IDENTITIES + "test_everything_a_spec_says_is_in_its_plan",
    ),
]

IDENTITY = [
    Fault(
        "probes are part of a tuning trial's identity",
        PLAN,
        'sorted(self.probes) if stage == "final" else []',
        "sorted(self.probes)",
        IDENTITIES + "test_a_trials_identity",
    ),
    Fault(
        "an identity does not say which metric early stopping watches",
        PLAN,
        '"metric": stopping.metric or problem.metric',
        '"metric": stopping.metric',
        IDENTITIES + "test_a_trials_identity",
    ),
    Fault(
        "an identity has the problem's batch size in place of the contender's",
        PLAN,
        '"batch_size": self.batch_size(problem, contender),',
        '"batch_size": problem.batch_size,',
        IDENTITIES + "test_a_trials_identity",
    ),
    Fault(
        "an identity forgets the time budget",
        PLAN,
        'identity["seconds"] = self.trial_seconds',
        "pass",
        IDENTITIES + "test_a_trials_identity",
    ),
    Fault(
        "seeds are added to every study",
        PLAN,
        "added = 0 if self.repeats_tuning else",
        "added = 0 if False else",
        IDENTITIES + "test_added_seeds_are_those_of_a_single_study_and_of_their_contender",
    ),
    Fault(
        "points of one tuner are taken for another's",
        PLAN,
        "self.tuner.name, self.tuner.batch",
        "self.tuner.batch",
        "bench/tuning/test_search.py::test_points_are_not_taken_from_another_search",
    ),
    Fault(
        "steps are timed once for all hyperparameters",
        PLAN,
        '"evaluations", "hyperparameters")',
        '"evaluations")',
        IDENTITIES + "test_a_timing_is_for_all_that_decides_how_long_a_step_takes",
    ),
    Fault(
        "probes are computed in every stage",
        SPEC,
        'self.plan.probes if stage == "final" else {}',
        "self.plan.probes",
        IDENTITIES + "test_the_recipe_of_each_stage",
    ),
    Fault(
        "early stopping is told, but not trained with",
        SPEC,
        "stopping=contender.stopping,",
        "stopping=None,",
        IDENTITIES + "test_the_recipe_of_each_stage",
    ),
    Fault(
        "a program with probes is taken for one without",
        SPEC,
        "sorted(looking), ",
        "",
        IDENTITIES + "test_a_group_for_everything_that_is_compiled_in",
    ),
]

EXECUTED = [
    Fault(
        "trials of every static choice run in one program",
        EXECUTION,
        " if each.static == point.static}",
        "}",
        RUNS + "test_every_trial_is_what_its_identity_says",
    ),
    Fault(
        "tuning trials run on final seeds",
        EXECUTION,
        "Request(trial.hyperparameters, trial.stage, trial.seed, trial.gradients, trial.order)",
        'Request(trial.hyperparameters, "final", trial.seed, trial.gradients, trial.order)',
        RUNS + "test_every_trial_is_what_its_identity_says",
    ),
    Fault(
        "rungs are trained to the end",
        EXECUTION,
        "until=first.until, ",
        "",
        RUNS + "test_every_trial_is_what_its_identity_says",
    ),
    Fault(
        "final trials are judged on validation",
        TRAINING,
        'return "test" if is_judged and problem.dataset.holds_out else "validation"',
        'return "validation"',
        "bench/wiring/test_splits.py::test_a_final_trial_is_judged_on_test_and_looks_at_validation_once_at_its_end",
    ),
    Fault(
        "tuning looks at test",
        PLAN,
        'return stage != "tuning"',
        "return True",
        "bench/wiring/test_splits.py::test_tuning_sees_validation_alone",
    ),
    Fault(
        "early stopping watches test",
        TRAINING,
        'shared.metrics(*model, begun.arrays["validation"])',
        'shared.metrics(*model, begun.arrays["test"])',
        "bench/wiring/test_splits.py::test_early_stopping_of_a_final_trial_watches_validation_and_is_judged_on_test",
    ),
    Fault(
        "every study has the first one's split",
        TRAINING,
        "data = problem.dataset.of_study(study)",
        "data = problem.dataset",
        "bench/wiring/test_splits.py::test_a_trial_has_its_studys_split",
    ),
    Fault(
        "early stopping looks the wrong way",
        TRAINING,
        "higher_is_better=higher)",
        "higher_is_better=not higher)",
        "bench/training/test_trajectory.py::test_early_stopping_can_watch_another_metric_and_its_direction",
    ),
    Fault(
        "a failed trial is not tried again",
        STORE,
        ' and row[status] != "failed"',
        "",
        "bench/store/test_store.py::test_failed_trials_run_again",
    ),
    Fault(
        "frozen targets move",
        STORE,
        'if not self._database.has("target", *row[:2]):',
        "if row:",
        "bench/tuning/test_targets.py::test_frozen_targets_stay",
    ),
    Fault(
        "a store returns another step as the restored one",
        STORE,
        "        outcome.restored_at,\n",
        "        outcome.diverged_at,\n",
        RUNS + "test_an_outcome_comes_back_with_each_number_in_its_place",
    ),
    Fault(
        "points that were drawn come back in another order",
        STORE,
        'in sorted(self._database.rows("drawn")):',
        'in sorted(self._database.rows("drawn"), key=lambda row: row[3]):',
        RUNS + "test_points_come_back_in_the_order_in_which_they_were_drawn",
    ),
    Fault(
        "stored trials of own code are reused unseen",
        EXECUTION,
        "[] if trust else checks(",
        "[] if not trust else checks(",
        GUARDED + "test_code_that_computes_something_else_is_said_and_trained_again",
    ),
    Fault(
        "targets stay that rest on trials which were set aside",
        EXECUTION,
        "targets=[problem.name] if sets_targets(",
        "targets=[] if sets_targets(",
        GUARDED + "test_a_run_of_another_budget_is_set_aside_as_well",
    ),
    Fault(
        "numbers are compared instead of bits",
        EXECUTION,
        'np.flatnonzero(before.view("<u4") != after.view("<u4"))',
        "np.flatnonzero(before != after)",
        GUARDED + "test_what_differs_is_told",
    ),
]

TUNED = [
    Fault(
        "the best points are scored again on the seeds that they had",
        PLAN,
        "(self.tuning_seeds if again else 0)",
        "0",
        "bench/tuning/test_zoom.py::test_the_best_two_are_scored_on_fresh_seeds_and_all_scores_count",
    ),
    Fault(
        "only the fresh scores of the best points count",
        TUNING,
        "[*history.found(row), *more]",
        "[*more]",
        "bench/tuning/test_zoom.py::test_the_best_two_are_scored_on_fresh_seeds_and_all_scores_count",
    ),
    Fault(
        "a trial that barely misses the target is better than one that is there",
        TUNING,
        "problem.steps * (2 + short / (1 + short))",
        "problem.steps * short",
        "bench/tuning/test_objective.py::test_what_misses_is_worse_than_the_latest_that_is_there_and_ordered_by_final_values",
    ),
    Fault(
        "zoom looks around the best point alone",
        TUNING,
        "best[(place - first) % len(best)]",
        "best[0]",
        "bench/tuning/test_sampling.py::test_zoom_looks_around_the_best_three_in_turn",
    ),
    Fault(
        "a diverged point goes on to the next rung",
        TUNING,
        " if np.isfinite(rungs[-1].scores[place])]",
        "]",
        "bench/tuning/test_search.py::test_nothing_goes_on_if_everything_diverged",
    ),
    Fault(
        "a winner need not have been trained to the end",
        TUNING,
        "last.places[int(np.argmin(last.scores))]",
        "int(np.argmin(scores))",
        "bench/tuning/test_search.py::test_the_better_half_goes_on_and_one_that_was_trained_to_the_end_wins",
    ),
    Fault(
        "the worst baseline sets the targets",
        TUNING,
        "tuning.scores[tuning.winner] < best[0]",
        "tuning.scores[tuning.winner] > best[0]",
        "bench/tuning/test_targets.py::test_the_best_tuned_baseline_is_trained_again_on_seeds_of_its_own",
    ),
    Fault(
        "an edge moves by the width that it was widened to",
        TUNING,
        "span.beyond(side, declared.width)",
        "span.beyond(side, span.width)",
        "bench/tuning/test_widening.py::test_the_optimum_outside_is_found_round_by_round",
    ),
]

CONCLUDED = [
    Fault(
        "a loser catches up only beyond the far end of the gap",
        "dlkit/bench/analysis/ranking.py",
        ".difference.low",
        ".difference.high",
        CONCLUSIONS + "test_a_loser_could_catch_up_where_its_gain_reaches_the_near_end_of_the_gap",
    ),
    Fault(
        "winners are told to tune",
        ANALYSIS,
        "for each in others if each.could_close_gap",
        "for each in compared if each.result.flags",
        CONCLUSIONS + "test_nobody_is_told_to_tune_a_winner",
    ),
    Fault(
        "a loser is undertuned however far behind it is",
        ANALYSIS,
        "self.result.could_gain(pair.difference.low)",
        "bool(self.result.flags)",
        CONCLUSIONS + "test_a_gap_that_tuning_cannot_close_is_settled",
    ),
    Fault(
        "a frame has validation in the columns of what judges",
        "dlkit/bench/analysis/frame_rows.py",
        'interval_columns("value", result.final)',
        'interval_columns("value", result.validation)',
        CONCLUSIONS + "test_validation_and_test_stand_in_their_columns",
    ),
    Fault(
        "a table has validation in the column of test",
        "dlkit/bench/report/tables.py",
        "numbers.interval(result.final, floor=floor)",
        "numbers.interval(result.validation, floor=floor)",
        CONCLUSIONS + "test_validation_and_test_stand_in_their_columns",
    ),
    Fault(
        "values below the floor stay what they are",
        PLAN,
        "np.maximum(numbers, floor)))",
        "np.maximum(numbers, SMALLEST)))",
        "bench/plan/test_orientation.py::test_values_below_the_floor_count_as_the_floor",
    ),
    Fault(
        "a difference to the floor is a bound on the wrong side",
        PLAN,
        "if problem.judged.higher_is_better else Floored(ours_open, theirs_open)",
        "if problem.judged.higher_is_better else Floored(theirs_open, ours_open)",
        "bench/plan/test_orientation.py::test_bounds_hold_for_the_values_before_they_were_clipped",
    ),
    Fault(
        "a spike that comes back is a divergence",
        TRAINING,
        "back = np.flatnonzero(~is_beyond)",
        "back = np.flatnonzero(~is_beyond)[: int((~is_beyond).argmax()) + 1]",
        "bench/training/test_divergence.py::test_a_spike_that_comes_back_is_no_divergence",
    ),
    Fault(
        "a loss that starts near 0 and falls has diverged where it comes back",
        TRAINING,
        "np.minimum(largest, growth * start)), first - lowest)",
        "np.minimum(largest, growth * start)), 0.0)",
        "bench/training/test_divergence.py::test_what_counts_is_the_size_of_the_loss_not_its_sign",
    ),
    Fault(
        "the loss of one example tells the size of all",
        TRAINING,
        "math.ceil(EXAMPLES / problem.batch_size)",
        "1",
        "bench/training/test_divergence.py::test_batches_of_one_example_raise_no_false_alarm",
    ),
    Fault(
        "one outlier at the end is a divergence",
        TRAINING,
        "len(every) - begun >= LAST",
        "len(every) - begun >= 1",
        "bench/training/test_divergence.py::test_an_outlier_at_the_end_is_no_divergence",
    ),
    Fault(
        "the rungs of a ladder may be what no metric is",
        SPEC,
        "[*facts.ladder, *([] if facts.target is None else [facts.target])]",
        "facts.ladder",
        "bench/spec/test_plausible.py::test_an_accuracy_in_percent",
    ),
    Fault(
        "a trial that did not get there is charged nothing",
        ANALYSIS,
        "last[id(outcome.steps)] if end.step is None else end.step)",
        '0 if end.kind != "reached" or end.step is None else end.step)',
        "bench/analysis/test_along_curves.py::test_expected_running_time_charges_what_each_trial_ran",
    ),
    Fault(
        "a main effect is told where pairs of contenders disagree",
        ANALYSIS,
        "self.is_beyond_chance and self.agreeing == self.pairs",
        "self.is_beyond_chance",
        "bench/analysis/test_effects.py::test_a_level_that_helps_one_and_harms_another_is_told_as_a_crossing",
    ),
    Fault(
        "a block in which both contenders diverged tells of an interaction",
        ANALYSIS,
        "weights[taken, None] * table[taken]",
        "weights[taken, None] * np.where(np.isnan(table[taken]), 0.0, table[taken])",
        "bench/analysis/test_effects.py::test_blocks_in_which_both_diverged_say_nothing_of_an_interaction",
    ),
    Fault(
        "a contrast blames a factor for what comes with it",
        ANALYSIS,
        "if level in cell and len(cell) > 1]",
        "if level in cell]",
        "bench/analysis/test_effects.py::test_contrasts_of_what_does_not_interact_are_zero_however_grids_are_filled",
    ),
    Fault(
        "an effect is settled by pairs whose tuning is doubtful",
        ANALYSIS,
        "is_settled = bool(clean)",
        "is_settled = True",
        "bench/analysis/test_effects.py::test_an_effect_that_rests_on_doubtful_tuning_alone_is_not_settled",
    ),
]

COMPARED = [
    Fault(
        "what holds on these test examples alone is a win",
        ANALYSIS,
        "return new is None or new.is_sure(self.difference.estimate, ALPHA, adjusted=adjusted)",
        "return new is None or new.examples > 0",
        "bench/analysis/test_new_examples.py::test_a_difference_on_these_examples_alone_is_no_win",
    ),
    Fault(
        "a difference that ends a run counts once",
        ANALYSIS,
        "looks = 2 if adds_blocks else 1",
        "looks = 1 if adds_blocks else 1",
        "bench/analysis/test_new_examples.py::test_differences_that_ended_a_run_count_double",
    ),
    Fault(
        "a trial without scores of examples counts as a diverged one",
        "dlkit/bench/analysis/new_examples.py",
        'outcome.example_scores is None and outcome.status != "diverged"',
        'outcome.example_scores is None and outcome.status == "failed"',
        "bench/analysis/test_new_examples.py::test_a_blocks_scores_are_the_means_over_its_trials",
    ),
    Fault(
        "single p-values on new examples stand where adjusted ones decided",
        "dlkit/bench/analysis/example_sentences.py",
        "new.adjusted_p if adjusted else new.difference.p_value",
        "new.difference.p_value if adjusted else new.adjusted_p",
        "bench/analysis/test_new_examples.py::test_in_a_tie_the_p_values_on_new_examples_are_the_adjusted_ones_that_decided",
    ),
    Fault(
        "a verdict does not say that it is about these examples",
        "dlkit/bench/analysis/example_sentences.py",
        'return "" if all(map(_of, others)) else these(problem, others)',
        'return "" if any(map(_of, others)) else these(problem, others)',
        "bench/analysis/test_new_examples.py::test_who_lacks_scores_is_beaten_on_these_examples_alone",
    ),
    Fault(
        "the error of a mean forgets what its examples have",
        STATS,
        "square = self.rows + self.columns - kept",
        "square = self.rows + kept - kept",
        "bench/stats/test_crossed.py::test_satterthwaites_degrees_by_hand",
    ),
    Fault(
        "examples of validation are scored in the place of test's",
        TRAINING,
        '_, scores = program.shared.evaluate(params, state, begun.arrays["test"])',
        '_, scores = program.shared.evaluate(params, state, begun.arrays["validation"])',
        "bench/training/test_trajectory.py::test_a_final_trial_keeps_the_scores_whose_mean_is_its_final_value",
    ),
    Fault(
        "one study is said to compare methods",
        "dlkit/bench/analysis/verdict.py",
        '"methods" if repeats_tuning else "settings"',
        '"methods" if ranking else "settings"',
        VERDICTS + "test_one_study_is_about_settings_and_several_are_about_methods",
    ),
    Fault(
        "seeds of all studies are compared as if each had been tuned for",
        ANALYSIS,
        "    if not plan.repeats_tuning:\n        return values\n",
        "    if plan:\n        return values\n",
        BLOCKS + "test_a_block_is_a_study_and_its_value_the_mean_over_its_fresh_seeds",
    ),
    Fault(
        "a study that lacks a trial lets those after it move up",
        ANALYSIS,
        "        if not each.is_complete:\n            break\n",
        "        if not each.is_complete:\n            continue\n",
        BLOCKS + "test_blocks_end_at_the_first_study_that_lacks_a_trial",
    ),
    Fault(
        "contenders are in the order of their medians",
        ANALYSIS,
        "    order = [best, *others]",
        "    order = list(range(count))",
        "bench/analysis/test_ranking.py::test_the_order_is_that_of_differences_not_of_medians",
    ),
    Fault(
        "an adjusted p-value forgets the pair's own",
        ANALYSIS,
        "max(singles[key].p_value, adjusted[key])",
        "adjusted[key]",
        "bench/analysis/test_pairs.py::test_an_adjusted_p_is_never_below_the_pairs_own",
    ),
    Fault(
        "pairs are not adjusted over the family",
        ANALYSIS,
        "max(singles[key].p_value, adjusted[key])",
        "singles[key].p_value",
        "bench/analysis/test_ranking.py::test_a_winner_stands_alone_in_its_group",
    ),
    Fault(
        "who is beaten gets as many more as those in question",
        ANALYSIS,
        "for label in settled.in_question})",
        "for label in settled.labels})",
        SETTLED + "test_who_is_beaten_by_everyone_in_question_rests",
    ),
    Fault(
        "one study's winner at an edge makes a doubt",
        "dlkit/bench/tuning/doubts.py",
        ">= SHARE_AT_EDGE * len(ended)",
        ">= 1",
        DOUBTED + "test_a_hyperparameter_is_at_an_edge_in_half_of_the_studies_with_a_trend",
    ),
    Fault(
        "a trend over a few points of several studies is beyond chance",
        "dlkit/bench/tuning/doubts.py",
        "max(EDGE_CORRELATION, _beyond_chance(freedom))",
        "EDGE_CORRELATION",
        DOUBTED + "test_a_range_that_does_nothing_is_seldom_flagged",
    ),
    Fault(
        "scores of studies that share no seed are compared as they are",
        "dlkit/bench/tuning/doubts.py",
        "[each - _middle(each) for each in values]",
        "values",
        DOUBTED + "test_studies_are_compared_by_their_distance_to_their_median",
    ),
    Fault(
        "with nothing to tune the best of several seeds is a gain by tuning",
        "dlkit/bench/analysis/tuning_curves.py",
        "np.full(fewest, np.concatenate(scores[label]).mean()) if label in fixed",
        "np.resize(np.concatenate(scores[label]), fewest) if label in fixed",
        "bench/analysis/test_across_problems.py::test_what_has_nothing_to_tune_gains_nothing_by_the_luck_of_seeds",
    ),
    Fault(
        "the gain is that of all studies' points together",
        "dlkit/bench/tuning/doubts.py",
        "min(2 * count, trained.size)",
        "trained.size",
        DOUBTED + "test_the_gain_is_what_twice_as_many_of_all_studies_points_find",
    ),
]

FORMULAS = [
    Fault(
        "muon orthogonalizes embeddings and heads",
        "dlkit/bench/optimizers/*.py",
        'return Rule(MATRICES if role.kind == "hidden" else OTHERS',
        "return Rule(MATRICES if role.is_matrix else OTHERS",
        "bench/optimizers/test_by_role.py::test_muon_orthogonalizes_hidden_matrices_and_kernels_and_nothing_else",
    ),
    Fault(
        "LARS and LAMB scale and decay biases",
        "dlkit/bench/optimizers/*.py",
        'role_of(path[:-1], leaf).kind != "vector", parts',
        'role_of(path[:-1], leaf).kind != "none", parts',
        "bench/optimizers/test_by_role.py::test_biases_have_no_ratio_of_norms_and_no_decay",
    ),
    Fault(
        "a gradient inside a loss makes a hidden layer of the first",
        "dlkit/bench/problems/*.py",
        "is_deep = any(use.is_deep for use in products if use.inputs == axes[0])",
        "is_deep = any(use.is_deep for use in products)",
        "bench/problems/test_roles.py::test_roles_are_those_known_by_hand",
    ),
    Fault(
        "Holm's factors are one too small",
        STATS,
        "np.arange(raw.size, 0, -1)",
        "np.arange(raw.size - 1, -1, -1)",
        "bench/stats/test_multiplicity.py::test_holm_by_hand",
    ),
    Fault(
        "a family steps up instead of down",
        STATS,
        "np.maximum.accumulate(ordered[::-1], axis=0)[::-1]",
        "np.maximum.accumulate(ordered, axis=0)",
        "bench/stats/test_families.py::test_all_flips_and_all_subsets_counted_one_by_one",
    ),
    Fault(
        "a tie keeps the order",
        STATS,
        "(kept + 0.5 * ties) / blocks",
        "(kept + ties) / blocks",
        "bench/stats/test_families.py::test_a_sign_that_most_blocks_keep",
    ),
    Fault(
        "the power of a pair forgets the other pairs",
        STATS,
        "reached |= rivals.largest[family] >=",
        "reached &= rivals.largest[family] <",
        "bench/stats/test_simulated_power.py::test_a_family_asks_for_more_than_a_pair",
    ),
    Fault(
        "Wilson's centre moves half as far",
        STATS,
        "(share + z**2 / (2 * trials)) / shrink",
        "(share + z**2 / (4 * trials)) / shrink",
        "bench/stats/test_intervals.py::test_wilson_matches_scipy",
    ),
    Fault(
        "runs that end at an event are not at risk",
        STATS,
        'np.searchsorted(np.sort(ends), steps, side="left")',
        'np.searchsorted(np.sort(ends), steps, side="right")',
        "bench/stats/test_survival.py::test_freireichs_medians_and_curve",
    ),
    Fault(
        "a p-value of signed ranks is one-sided",
        STATS,
        "2 * float(cdf[min(negative, positive)])",
        "float(cdf[min(negative, positive)])",
        "bench/stats/test_signed_ranks.py::test_p_value_matches_scipy_without_ties",
    ),
    Fault(
        "the expected best draws one point too many",
        STATS,
        "_none_of_first(n, k)[1:-1]",
        "_none_of_first(n, k)[2:]",
        "bench/stats/test_tuning_curves.py::test_expected_best_is_the_mean_over_all_subsets",
    ),
    Fault(
        "early stopping is an evaluation late",
        "dlkit/*.py",
        "stopped=stale >= patience",
        "stopped=stale > patience",
        "test_early_stopping.py::test_by_hand",
    ),
]

HELD_OUT = [
    Fault(
        "sequences of the copy-memory task repeat",
        DATA,
        "min(examples, SYMBOLS**symbols), replace=False)",
        "min(examples, SYMBOLS**symbols), replace=True)",
        "bench/data/test_synthetic.py::test_no_sequence_of_copy_memory_is_there_twice",
    ),
    Fault(
        "copies of validation examples in the test are overlooked",
        DATA,
        '("test", "train"), ("test", "validation"))',
        '("test", "train"))',
        "bench/data/test_leakage.py::test_copies_are_found_where_they_are",
    ),
    Fault(
        "what is near by chance counts as a copy",
        DATA,
        "(_log_ratios(nearest, second) > chance(len(rows)))",
        "(nearest >= 0)",
        "bench/data/test_leakage.py::test_chance_is_not_suspected",
    ),
    Fault(
        "rows of coarse values that coincide count as copies",
        DATA,
        "coincidence * pairs < COARSE",
        "coincidence >= 0",
        "bench/data/test_leakage.py::test_chance_is_not_suspected",
    ),
]

AXES = "bench/wiring/test_axes.py::"
COUNTED = [
    Fault(
        "budgets of gradients forget what a step costs",
        SPEC,
        "gradients / (cost or _moves(problem))",
        "gradients / _moves(problem)",
        AXES + "test_two_gradients_a_step_are_half_of_the_steps",
    ),
    Fault(
        "a full batch counts as the problem's own",
        PLAN,
        "own = problem.batch_size if contender.batch_size is None else contender.batch_size",
        "own = problem.batch_size",
        AXES + "test_a_full_batch_sees_as_many_examples_in_fewer_steps",
    ),
    Fault(
        "a line search goes on beyond its budget",
        TRAINING,
        'request.gradients, side="right"',
        'np.inf, side="right"',
        AXES + "test_a_line_search_ends_within_its_budget",
    ),
    Fault(
        "a contender that is added later is timed in today's seconds",
        EXECUTION,
        "ratio = _seconds(known[yardstick]) / _seconds(now)",
        "ratio = 1.0",
        AXES + "test_seconds_are_measured_once_and_kept",
    ),
    Fault(
        "equal cost is what the dearest spent",
        ANALYSIS,
        "least = min((total for total in totals",
        "least = max((total for total in totals",
        "bench/analysis/test_step_costs.py::test_the_order_after_as_many_gradients_is_tested_on_the_scores_there",
    ),
    Fault(
        "who was evaluated long before a cost is compared at it",
        ANALYSIS,
        "return bool(shares) and float(np.mean(shares)) >= NEAR",
        "return bool(shares) and float(np.mean(shares)) >= 0 * NEAR",
        "bench/analysis/test_step_costs.py::test_who_was_not_evaluated_near_the_cost_is_not_ordered",
    ),
    Fault(
        "a trial without an evaluation within its budget has finished",
        EXECUTION,
        "return trial.gradients is not None and len(result.steps) == 1",
        "return False",
        AXES + "test_a_budget_without_an_evaluation_within_is_refused_when_it_shows",
    ),
    Fault(
        "what was timed beside a contender that could not be is kept",
        EXECUTION,
        "if not _seconds(now) > 0:",
        "if False:",
        AXES + "test_an_added_contender_is_not_timed_beside_who_cannot_be",
    ),
    Fault(
        "a trial that diverged keeps its last value along its budget",
        PLAN,
        'if outcome.status == "diverged":\n        values[shares',
        'if outcome.status == "none":\n        values[shares',
        "bench/analysis/test_along_curves.py::test_where_costs_vary_curves_are_read_at_shares_of_the_budget",
    ),
    Fault(
        "shares of a budget are shares of its steps",
        TUNING,
        "is_within = spent(problem, contender, outcome) <=",
        "is_within = outcome.steps <=",
        "bench/tuning/test_targets.py::test_shares_are_of_what_the_budget_counts",
    ),
]

FAULTS = (
    *RANDOM_STREAMS,
    *WHO_OVERRIDES_WHOM,
    *IDENTITY,
    *EXECUTED,
    *TUNED,
    *CONCLUDED,
    *COMPARED,
    *COUNTED,
    *FORMULAS,
    *HELD_OUT,
)
