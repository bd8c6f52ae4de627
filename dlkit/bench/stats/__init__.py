"""Honest estimates from arrays: intervals, tests, multiplicity, profiles, survival, tuning curves, sequential seeds.

Arrays in, small named tuples out: NumPy and SciPy, no I/O, nothing from the rest of the package. Lower is better unless
`higher_is_better=True`. A diverged trial or a missed target is `+inf`, never dropped or averaged into a number; NaN is
refused, unless a function says what it stands for. What draws at random takes `seed`: the same seed, the same result.

Axes come in one order: contenders, seeds, problems, targets. Every interval's coverage and every test's size at 5, 10
and 20 seeds is simulated: see the documentation.
"""

from dlkit.bench.stats.aggregates import iqm, optimality_gap, probability_of_improvement
from dlkit.bench.stats.bootstrap import BootstrapIntervals, expanded_level, stratified_bootstrap
from dlkit.bench.stats.crossed import CrossedDifference, crossed_difference, crossed_mean, examples_needed
from dlkit.bench.stats.families import family_p_values, fewest_blocks, keeps_order
from dlkit.bench.stats.good_ranges import Sensitivity, sensitivity, width_interval
from dlkit.bench.stats.incomplete_ranks import (
    SkillingsMack,
    connected,
    expected_ranks,
    midranks,
    nemenyi_distances,
    skillings_mack,
    skillings_mack_permutation,
)
from dlkit.bench.stats.intervals import Interval, median_interval, wilson_interval
from dlkit.bench.stats.multiplicity import holm
from dlkit.bench.stats.nested import NestedMean, nested_mean
from dlkit.bench.stats.paired import PairedEffects, paired_effects, paired_ratio
from dlkit.bench.stats.profiles import PerformanceProfile, ProfileBands, performance_profile, profile_bands
from dlkit.bench.stats.rank_bootstrap import RankBootstrap, rank_bootstrap
from dlkit.bench.stats.ranks import Friedman, friedman, friedman_permutation, nemenyi_distance, rank_correlation
from dlkit.bench.stats.runtime_profiles import TargetECDF, TargetRanking, target_ecdf, target_ranking, times_to_targets
from dlkit.bench.stats.sequential import Settlement, confidence_sequence, evidence, settle
from dlkit.bench.stats.signed_ranks import PairedDifference, SignedRanks, paired_difference, wilcoxon
from dlkit.bench.stats.simulated_power import least_blocks, least_difference, simulated_power
from dlkit.bench.stats.survival import (
    ExpectedRunningTime,
    KaplanMeier,
    LogRank,
    expected_running_time,
    kaplan_meier,
    log_rank,
    restricted_mean,
)
from dlkit.bench.stats.tuning_curves import (
    TuningBands,
    TuningLeaders,
    expected_best,
    tuning_bands,
    tuning_curve,
    tuning_leaders,
)

__all__ = [
    "BootstrapIntervals",
    "CrossedDifference",
    "ExpectedRunningTime",
    "Friedman",
    "Interval",
    "KaplanMeier",
    "LogRank",
    "NestedMean",
    "PairedDifference",
    "PairedEffects",
    "PerformanceProfile",
    "ProfileBands",
    "RankBootstrap",
    "Sensitivity",
    "Settlement",
    "SignedRanks",
    "SkillingsMack",
    "TargetECDF",
    "TargetRanking",
    "TuningBands",
    "TuningLeaders",
    "confidence_sequence",
    "connected",
    "crossed_difference",
    "crossed_mean",
    "evidence",
    "examples_needed",
    "expanded_level",
    "expected_best",
    "expected_ranks",
    "expected_running_time",
    "family_p_values",
    "fewest_blocks",
    "friedman",
    "friedman_permutation",
    "holm",
    "iqm",
    "kaplan_meier",
    "keeps_order",
    "least_blocks",
    "least_difference",
    "log_rank",
    "median_interval",
    "midranks",
    "nemenyi_distance",
    "nemenyi_distances",
    "nested_mean",
    "optimality_gap",
    "paired_difference",
    "paired_effects",
    "paired_ratio",
    "performance_profile",
    "probability_of_improvement",
    "profile_bands",
    "rank_bootstrap",
    "rank_correlation",
    "restricted_mean",
    "sensitivity",
    "settle",
    "simulated_power",
    "skillings_mack",
    "skillings_mack_permutation",
    "stratified_bootstrap",
    "target_ecdf",
    "target_ranking",
    "times_to_targets",
    "tuning_bands",
    "tuning_curve",
    "tuning_leaders",
    "width_interval",
    "wilcoxon",
    "wilson_interval",
]
