"""Figures others published, as test data."""

import math

INF = math.inf

# Steps to the validation target of 14 submissions on 9 workloads, and the scores published for them: MLCommons,
# repository mlcommons/submissions_algorithms, artifacts/leaderboard_v2 (a draft, not the official leaderboard).
# Columns: criteo1tb, fastmri, finewebedu_lm, imagenet_resnet, imagenet_vit, librispeech_conformer,
# librispeech_deepspeech, ogbg, wmt.
ALGOPERF = {
    "AdEMAMix": ([8371, 10206, 44503, INF, INF, 67706, INF, 27247, 112742], 0.5258136924803595),
    "Cautious NAdamW": ([INF, 7518, 58199, INF, INF, INF, INF, 24948, 112372], 0.31986531986531946),
    "Lion": ([INF, 10645, 59524, INF, INF, INF, INF, 33386, 109080], 0.2732884399551064),
    "Muon (JAX)": ([INF, 8801, 40724, INF, 151926, INF, INF, INF, INF], 0.31986531986531946),
    "Muon (PyTorch)": ([7716, INF, 39220, INF, INF, INF, INF, 7711, 97224], 0.4326599326599318),
    "NAdamW": ([8286, 9924, 58784, INF, 152461, INF, INF, INF, INF], 0.40404040404040326),
    "NAdamW (Baseline v0.5)": ([9145, 6648, 47039, INF, INF, INF, INF, 20879, 118600], 0.45454545454545503),
    "NAdamW (ResNet)": ([INF, 9220, 53029, INF, INF, INF, INF, 32738, INF], 0.19528619528619492),
    "Schedule-Free AdamW": ([10346, 10599, INF, INF, INF, INF, 90588, 15853, 133517], 0.4461279461279469),
    "Schedule-Free AdamW (JAX)": ([INF, 7160, 57242, INF, 175889, INF, INF, 27341, 122198], 0.4090909090909087),
    "Schedule-Free AdamW (JAX v2)": ([9005, 8750, 68640, INF, 164206, INF, INF, 27457, INF], 0.41245791245791213),
    "Schedule-Free AdamW v2": ([7951, 12431, INF, INF, INF, 83184, 78669, 28449, 73222], 0.5252525252525259),
    "DiLoCo (Single Worker)": ([INF, 9342, 61209, INF, INF, INF, INF, INF, INF], 0.18630751964085265),
    "DiLoCo v2 (Single Worker)": ([INF, 10140, 59550, INF, INF, INF, INF, INF, INF], 0.1829405162738493),
}

# Weeks in remission of 42 children with leukaemia, and whether they relapsed: Freireich et al., Blood 21, 1963; as in
# Cox and Oakes, Analysis of Survival Data, 1984. The pairs were given 6-mercaptopurine or a placebo.
TREATED_WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
TREATED_RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO_WEEKS = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]

# Ranks of four variants of C4.5 (plain, with m, with cf, with both tuned) on 14 data sets: Demšar, "Statistical
# comparisons of classifiers over multiple data sets", JMLR 7, 2006, table 6.
DEMSAR_RANKS = [
    [4, 3, 2, 1],
    [1, 2, 3, 4],
    [4, 1, 2, 3],
    [4, 1, 3, 2],
    [4, 2, 3, 1],
    [1, 2.5, 4, 2.5],
    [3, 2, 4, 1],
    [2.5, 2.5, 4, 1],
    [4, 3, 2, 1],
    [2.5, 2.5, 2.5, 2.5],
    [4, 2.5, 1, 2.5],
    [3, 2, 4, 1],
    [4, 1, 2, 3],
    [3, 1, 4, 2],
]
