"""Initial weights by name, against the published variances and what orthogonality says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import bench
from dlkit.bench import problems
from dlkit.bench.errors import UserError
from dlkit.bench.problems.initialization import INITIALIZATIONS, reinitialized
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.regularizers import all_of, by_name, none_of, weights_only

SHAPES = {"dense": {"kernel": (60, 150), "bias": (150,)}, "conv": {"kernel": (3, 3, 20, 40)}, "norm": {"scale": (2, 7)}}
SHAPES |= {"table": {"embedding": (30, 20)}}


def shaped(shapes: Any = SHAPES) -> problems.Problem:
    """A problem whose parameters are ones of these shapes."""

    def init(key: Any) -> Any:
        return jax.tree.map(jnp.ones, shapes, is_leaf=lambda leaf: isinstance(leaf, tuple)), None

    return problems.Problem(
        name="shapes",
        init=init,
        loss=lambda params, state, batch, key: (sum(map(jnp.sum, jax.tree.leaves(params))), state),
        evaluate=lambda params, state, batch: {"total": sum(map(jnp.sum, jax.tree.leaves(params)))},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"total": bench.Metric("lower")},
    )


def start(problem: problems.Problem, seed: int = 0) -> Any:
    return problem.init(jax.random.key(seed))[0]


@pytest.mark.parametrize(
    ("name", "dense", "conv"),
    [  # fans: 60 and 150 of the matrix; 9 * 20 and 9 * 40 of the kernel
        ("he", 2 / 60, 2 / 180),
        ("glorot", 2 / 210, 2 / 540),
        ("lecun", 1 / 60, 1 / 180),
    ],
)
def test_variances_are_the_published_ones(name: str, dense: float, conv: float) -> None:
    drawn = [start(reinitialized(shaped(), name, scale=3.0), seed) for seed in range(20)]
    for kind, expected in (("dense", dense), ("conv", conv)):
        values = np.stack([each[kind]["kernel"] for each in drawn])
        assert values.var() == pytest.approx(9 * expected, rel=0.02)
        assert abs(values.mean()) < 4 * np.sqrt(9 * expected / values.size)


def test_orthogonal_weights_have_orthonormal_sides() -> None:
    drawn = start(reinitialized(shaped(), "orthogonal", scale=0.5))
    wide = drawn["dense"]["kernel"]
    np.testing.assert_allclose(wide @ wide.T, 0.25 * np.eye(60), atol=1e-6)
    taps = drawn["conv"]["kernel"].reshape(-1, 40)
    np.testing.assert_allclose(taps.T @ taps, 0.25 * np.eye(40), atol=1e-6)


@pytest.mark.parametrize("name", [*INITIALIZATIONS, "default"])
def test_biases_normalizations_and_embeddings_stay(name: str) -> None:
    drawn = start(reinitialized(shaped(), name, scale=2.0))
    for kept in (drawn["dense"]["bias"], drawn["norm"]["scale"], drawn["table"]["embedding"]):
        assert (kept == 1).all()
    if name == "default":
        assert (drawn["dense"]["kernel"] == 2).all(), "the problem's own draw, scaled"


def test_draws_follow_from_names_and_seeds_alone() -> None:
    reference = start(reinitialized(shaped(), "lecun"))
    others = {"a": {"kernel": (4, 4)}, **SHAPES, "z": {"kernel": (4, 4)}}
    among = start(reinitialized(shaped(others), "lecun"))
    np.testing.assert_array_equal(among["dense"]["kernel"], reference["dense"]["kernel"])
    assert (among["a"]["kernel"] != among["z"]["kernel"]).any()
    assert (start(reinitialized(shaped(), "lecun"), 1)["dense"]["kernel"] != reference["dense"]["kernel"]).any()
    paired = start(reinitialized(shaped(), "he"))["dense"]["kernel"]
    np.testing.assert_allclose(paired, np.sqrt(2) * reference["dense"]["kernel"], rtol=1e-5)


def test_axes_the_other_way_round_have_the_other_fans() -> None:
    drawn = [start(reinitialized(shaped(), "he", in_axis=1, out_axis=0), seed)["dense"]["kernel"] for seed in range(20)]
    assert np.var(drawn) == pytest.approx(2 / 150, rel=0.02)


def test_a_flax_module_is_reinitialized() -> None:
    data = bench.split("mine", {"inputs": np.ones((20, 30), np.float32), "targets": np.zeros(20, np.float32)})
    problem = bench.problem_from_flax(
        linen.Dense(1), data, lambda outputs, targets: (outputs[:, 0] - targets) ** 2, batch_size=5
    )
    kernel = start(reinitialized(problem, "orthogonal"))["kernel"]
    assert float(jnp.linalg.norm(kernel)) == pytest.approx(1)


@pytest.mark.long
def test_an_equinox_module_has_its_axes_the_other_way_round() -> None:
    equinox = pytest.importorskip("equinox")
    arrays = {"inputs": np.ones((20, 8, 9, 9), np.float32), "targets": np.zeros(20, np.float32)}
    problem = bench.problem_from_equinox(
        lambda key: equinox.nn.Conv2d(8, 400, 3, key=key),
        bench.split("mine", arrays),
        lambda outputs, targets: (outputs.mean(axis=(1, 2, 3)) - targets) ** 2,
        batch_size=5,
    )
    usual, drawn = start(problem), start(reinitialized(problem, "he", in_axis=1, out_axis=0))
    shapes = [leaf.shape for leaf in jax.tree.leaves(drawn)]
    assert sorted(shapes) == [(400, 1, 1), (400, 8, 3, 3)]
    for before, after in zip(jax.tree.leaves(usual), jax.tree.leaves(drawn), strict=True):
        if after.shape == (400, 1, 1):
            np.testing.assert_array_equal(before, after)
        else:
            assert float(after.var()) == pytest.approx(2 / (8 * 9), rel=0.05)


@pytest.mark.parametrize("form", ["heads", "stacked layers"])
def test_axes_that_a_shape_does_not_tell_are_refused(form: str) -> None:
    shapes: Any = {"layers": {"kernel": (5, 32, 32)}}
    if form == "heads":
        module = linen.MultiHeadDotProductAttention(4, qkv_features=32)
        shapes = jax.tree.map(jnp.shape, module.init(jax.random.key(0), jnp.ones((3, 32)))["params"])
    problem = shaped(shapes)
    for name in INITIALIZATIONS:
        with pytest.raises(UserError, match=rf"weight '.*kernel' has the three axes \(.*\).*which '{name}' depends on"):
            start(reinitialized(problem, name))
    assert all(
        (leaf == 2).all()
        for leaf in jax.tree.leaves(start(reinitialized(problem, "default", scale=2.0)))
        if leaf.ndim == 3
    )


def test_a_mask_says_how_the_axes_of_a_convolution_along_time_lie() -> None:
    problem = reinitialized(shaped({"kernel": (5, 20, 40)}), "he", mask=problems.matrices_only)
    drawn = [start(problem, seed)["kernel"] for seed in range(20)]
    assert np.var(drawn) == pytest.approx(2 / (5 * 20), rel=0.03)


@pytest.mark.long
def test_a_mask_keeps_equinoxs_tables() -> None:
    equinox = pytest.importorskip("equinox")
    arrays = {"inputs": np.ones(20, np.int32), "targets": np.zeros(20, np.float32)}

    class Words(equinox.Module):  # type: ignore[misc]
        table: Any
        out: Any

        def __call__(self, word: Any) -> Any:
            return self.out(self.table(word))

    def make(key: Any) -> Any:
        return Words(equinox.nn.Embedding(10, 4, key=key), equinox.nn.Linear(4, 1, key=key))

    problem = bench.problem_from_equinox(
        make, bench.split("mine", arrays), lambda o, t: (o[:, 0] - t) ** 2, batch_size=5
    )
    mask = all_of(weights_only, none_of(by_name("table.weight")))
    kept = start(reinitialized(problem, "he", mask=mask, in_axis=1, out_axis=0))
    np.testing.assert_array_equal(kept["table.weight"], start(problem)["table.weight"])
    assert (kept["out.weight"] != start(problem)["out.weight"]).all()


def test_it_is_a_choice_of_catalogue_problems_and_a_factor() -> None:
    default, orthogonal = problems.get("wine-mlp"), problems.get("wine-mlp", initialization="orthogonal", init_scale=2)
    hidden = start(orthogonal)["hidden_0"]["dense"]
    np.testing.assert_allclose(hidden["kernel"] @ hidden["kernel"].T, 4 * np.eye(13), atol=1e-5)
    assert (start(default)["hidden_0"]["dense"]["kernel"] != hidden["kernel"]).any()
    assert "initialization" not in problems.choices_of("rosenbrock")
    budget = bench.Budget(steps=8, evaluations=2, tuning_points=4, studies=1, tuning_seeds=1, seeds=2)
    bound = plan(
        Experiment(
            name="x",
            problems=(ProblemChoice(problem="wine-mlp"),),
            optimizers=(Contender(optimizer="sgd", choices={"init_scale": [0.5, 1.0]}),),
            factors={"initialization": ["he", "glorot"]},
            budget=budget,
        )
    )
    he, _ = bound.plan.contenders
    assert he.choices == {"initialization": "he"} and he.static == {"init_scale": [0.5, 1.0]}
    (problem,) = bound.plan.problems
    halved = bound.group(problem, he, {"init_scale": 0.5}).problem.load()
    expected = start(reinitialized(default, "he", scale=0.5))
    np.testing.assert_array_equal(start(halved)["output"]["dense"]["kernel"], expected["output"]["dense"]["kernel"])


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"problem 'wine-mlp': no initialization 'hee'; did you mean 'he'\?"):
        problems.get("wine-mlp", initialization="hee")
    with pytest.raises(UserError, match=r"scale of an initialization must be a number of at least 0, got -1\.0"):
        problems.get("wine-mlp", init_scale=-1)
    with pytest.raises(UserError, match="problem 'quadratic': has no weights that 'he' could initialize"):
        problems.check_problem(reinitialized(problems.get("quadratic"), "he"))
    with pytest.raises(UserError) as told:
        problems.check_problem(reinitialized(problems.get("quadratic"), "he"))
    assert "UserError" not in str(told.value), "the message itself, not that init raised it"
    with pytest.raises(UserError, match=r"reinitialized: expected a bench\.Problem.*got 'wine-mlp'"):
        reinitialized("wine-mlp", "he")  # type: ignore[arg-type]
