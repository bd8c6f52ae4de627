"""The skeletons of docs/extending: each is run, and most go through the conformance test that their page names."""

import dataclasses
import doctest
import importlib.util
import math
import re
import sys
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from dlkit import layers, losses
from dlkit.bench import optimizers, stats
from dlkit.bench.optimizers import catalog as optimizer_catalog
from dlkit.bench.optimizers import schedules
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.probes import PROBES, View, check, curves_of
from dlkit.bench.problems import catalog as problem_catalog
from dlkit.bench.problems.catalog import Entry
from dlkit.bench.report import latex, markdown
from tests import test_conformance
from tests.bench.optimizers import test_registry, test_schedules
from tests.bench.probes import test_probes
from tests.bench.problems import test_catalog
from tests.bench.synthetic import make_plan, make_summary
from tests.bench.tuning import test_sampling
from tests.cases.base import Case, Input, layer, plain

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "extending"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")
EVERY = ("layer", "loss", "optimizer", "probe", "problem", "report_table", "schedule", "statistic", "tuner", "wrapper")


@pytest.fixture(scope="session")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imports the code of a page as a file of its own, as a user would keep it."""
    folder = tmp_path_factory.mktemp("skeletons")

    @cache
    def load(page: str) -> ModuleType:
        text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
        path = folder / f"skeleton_{page}.py"
        path.write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_every_extension_point_has_a_page() -> None:
    assert tuple(PAGES) == EVERY
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert all(f"({page}.md)" in index and f"\n{page}\n" in index for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_files_that_exist(page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:dlkit|tests|benchmarks|docs)/[\w/.]*)`", text)
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_docstrings_are_right(page: str, skeleton: Any) -> None:
    assert doctest.testmod(skeleton(page)).failed == 0


# --- by the conformance tests of what is registered -------------------------------------------------------------------


@pytest.mark.long
def test_a_problem_meets_what_the_catalogue_does(skeleton: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = skeleton("problem").two_moons
    rows = MappingProxyType({**problem_catalog.PROBLEMS, "two-moons": made})
    monkeypatch.setattr(problem_catalog, "PROBLEMS", rows)
    monkeypatch.setattr(test_catalog, "PROBLEMS", rows)
    monkeypatch.setattr(test_catalog, "ENTRIES", {**problem_catalog.ENTRIES, "two-moons": Entry(made)})
    test_catalog.test_is_described_and_can_be_traced("two-moons")
    test_catalog.test_loss_and_gradients_are_finite_and_the_start_is_the_seeds("two-moons")
    test_catalog.test_a_little_training_betters_every_metric("two-moons")
    assert problem_catalog.tunable("two-moons") == ("l2",)


@pytest.mark.long
def test_an_optimizer_meets_what_the_registry_does(skeleton: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = skeleton("optimizer").optimizer
    rows = MappingProxyType({**optimizer_catalog.OPTIMIZERS, own.name: own})
    monkeypatch.setattr(optimizer_catalog, "OPTIMIZERS", rows)
    test_registry.test_is_described(own.name)
    test_registry.test_converges_somewhere_in_its_space_with_one_trace(own.name)
    test_registry.test_can_be_traced_in_a_loop_under_vmap_and_keeps_bfloat16(own.name)
    test_registry.test_a_constant_and_a_traced_learning_rate_give_the_same_bits(own.name)


def test_an_optimizer_makes_the_steps_of_its_formula(skeleton: Any) -> None:
    transformation = skeleton("optimizer").optimizer.build(learning_rate=0.5, momentum=0.75)
    params = jnp.array([1.0, -2.0])
    state = transformation.init(params)
    for gradient, expected in (([3.0, -0.1], [-0.125, 0.125]), ([-7.0, -5.0], [0.03125, 0.21875])):
        updates, state = transformation.update(jnp.array(gradient), state, params)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


@pytest.mark.long
def test_a_wrapper_meets_what_the_registry_does(skeleton: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = MappingProxyType({**optimizers.WRAPPERS, "value-clip": skeleton("wrapper").with_value_clipping})
    monkeypatch.setattr(optimizer_catalog, "WRAPPERS", rows)
    name = "sgd+value-clip"
    test_registry.test_is_described(name)
    test_registry.test_converges_somewhere_in_its_space_with_one_trace(name)
    test_registry.test_can_be_traced_in_a_loop_under_vmap_and_keeps_bfloat16(name)


def test_a_wrapper_clips_every_coordinate_and_keeps_the_inner_optimizers_costs(skeleton: Any) -> None:
    wrap = skeleton("wrapper").with_value_clipping
    outer = wrap(optimizers.get("sgd+sam"), max_delta=0.5)
    assert outer.name == "sgd+sam+value-clip" and outer.evaluations.gradients == 2
    transformation = optax.with_extra_args_support(wrap(optimizers.get("sgd")).build(learning_rate=1.0, max_delta=0.5))
    params = jnp.zeros(3)
    updates, _ = transformation.update(jnp.array([2.0, -0.25, -9.0]), transformation.init(params), params)
    np.testing.assert_allclose(updates, [-0.5, 0.25, 0.5])


def test_a_schedule_meets_what_the_others_do(skeleton: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = skeleton("schedule").schedule
    monkeypatch.setattr(schedules, "SCHEDULES", {**schedules.SCHEDULES, own.name: own})
    test_schedules.test_is_described(own.name)
    for horizon in (1, 2, 7):
        test_schedules.test_rates_stay_between_nothing_and_the_peak_for_any_horizon(own.name, horizon)
    shape = test_schedules.multipliers(own.name, power=2.0)
    oracle = optax.polynomial_schedule(1.0, 0.0, 2.0, test_schedules.HORIZON)
    np.testing.assert_allclose(shape, test_schedules.of_optax(oracle), rtol=1e-5)


@pytest.mark.long
def test_a_probe_meets_what_the_others_do(skeleton: Any) -> None:
    own = skeleton("probe").probe
    assert not {*own.curves} & {curve for probe in PROBES.values() for curve in probe.curves}
    test_probes.test_costs_are_what_is_evaluated(own)
    check(own, problem_catalog.get("digits-mlp"))
    seen = test_probes.network("relu")

    def measured(params: Any, update: Any) -> Any:
        return curves_of(own, seen._replace(params=params, update=update))

    compiled = jax.jit(measured)(seen.params, seen.update)
    for name, value in measured(seen.params, seen.update).items():
        assert value.shape == () and value.dtype == jnp.float32 and -1 < value < 1
        np.testing.assert_allclose(compiled[name], value, rtol=1e-4)


@pytest.mark.long
def test_a_probe_is_1_along_the_gradient_of_all_examples_and_nan_where_nothing_moved(skeleton: Any) -> None:
    seen: View = test_probes.network("tanh")
    gradient = jax.grad(seen.loss)(seen.params, seen.train)
    for factor, expected in ((-3.0, 1.0), (0.1, -1.0), (0.0, math.nan)):
        moved = seen._replace(update=jax.tree.map(lambda slope, factor=factor: factor * slope, gradient))
        cosine = curves_of(skeleton("probe").probe, moved)["descent_cosine"]
        np.testing.assert_allclose(cosine, expected, rtol=1e-5)


def conforms(case: Case) -> None:
    """A row of the conformance table through its tests."""
    for dtype in test_conformance.DTYPES:
        test_conformance.test_keeps_the_dtype(case, dtype)
    for dtype in ("float32", "bfloat16"):
        test_conformance.test_values_and_gradients_are_finite(case, dtype)
    test_conformance.test_leading_axes_are_batch_axes(case)
    test_conformance.test_jit_equals_eager_and_compiles_once(case)
    test_conformance.test_vmap_equals_a_loop(case)
    test_conformance.test_the_same_arguments_give_the_same_bits(case)


@pytest.mark.long
def test_a_layer_meets_what_the_others_do(skeleton: Any) -> None:
    own = skeleton("layer").scale()
    conforms(layer("layers.scale", own, (2, 4), limit=3.2e38))
    model = layers.serial(layers.dense(3), own, layers.dense(2))
    params, state = model.init(jax.random.key(0), (4,))
    assert model.apply(params, state, jnp.ones((5, 4)))[0].shape == (5, 2)
    with pytest.raises(TypeError, match="scale"):
        own.apply({"scale": jnp.ones(1)}, {}, jnp.ones(1, jnp.int32))


@pytest.mark.long
def test_a_loss_meets_what_the_others_do(skeleton: Any) -> None:
    conforms(Case("losses.pseudo_huber", plain(skeleton("loss").pseudo_huber), (Input((3,)), Input((3,))), 1e18))


@pytest.mark.long
def test_a_loss_is_its_formula_and_lies_between_squares_and_magnitudes(skeleton: Any) -> None:
    errors = np.array([-1e4, -2.0, -1e-3, 0.0, 0.5, 3.0, 1e6], np.float32)
    ours = skeleton("loss").pseudo_huber(jnp.asarray(errors), jnp.zeros(7), delta=2.0)
    exact = errors.astype(np.longdouble) / 2
    np.testing.assert_allclose(ours, 4 * (np.sqrt(1 + exact**2) - 1), rtol=1e-5)
    assert np.all(ours <= losses.huber(jnp.asarray(errors), jnp.zeros(7), delta=2.0) * (1 + 1e-6))
    with pytest.raises(ValueError, match="pseudo_huber"):
        skeleton("loss").pseudo_huber(jnp.ones(3), jnp.ones((3, 1)))


# --- through the functions around them --------------------------------------------------------------------------------


def test_a_tuner_keeps_what_all_of_them_do(skeleton: Any) -> None:
    draw = skeleton("tuner").recurrent_points
    for seed in (0, 3):
        test_sampling.test_fewer_points_are_the_first_of_more(draw, seed)
    test_sampling.test_another_seed_shares_no_point(draw)
    test_sampling.test_points_stay_inside_and_keep_the_order_of_names(draw)
    points = test_sampling.as_array(draw(test_sampling.UNIT, {}, 32))
    random = [scipy.stats.qmc.discrepancy(np.random.default_rng(seed).random((32, 2))) for seed in range(50)]
    assert scipy.stats.qmc.discrepancy(points) < np.median(random)


def test_what_a_tuner_draws_is_tuned_over_and_compared(skeleton: Any) -> None:
    draw = skeleton("tuner").recurrent_points
    plan = make_plan(("sgd", "adam"))
    contenders = []
    for contender in plan.contenders:
        space = {"learning_rate": log_uniform(1e-3, 1.0)}
        contenders.append(type(contender)(**{**vars(contender), "space": space, "points": draw(space, {}, 6)}))
    comparison = make_summary(type(plan)(**{**vars(plan), "contenders": contenders})).comparisons[0]
    drawn = [point.hyperparameters["learning_rate"] for point in draw(space, {}, 6)]
    best = min(drawn, key=lambda rate: abs(math.log10(rate) + 1.5))  # where the made-up curves end lowest
    assert sorted(set(drawn)) == sorted(drawn) and len(drawn) == 6
    for label in ("sgd", "adam"):
        trials = [trial for name, _, trial in comparison.trials() if name == label]
        assert {trial.hyperparameters["learning_rate"] for trial in trials} == {*drawn}
        assert {trial.hyperparameters["learning_rate"] for trial in trials if trial.stage == "final"} == {best}


def test_a_statistic_is_scipys_and_refuses_what_is_no_sample(skeleton: Any) -> None:
    module = skeleton("statistic")
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (5, 1), (7, 3), (4, 20, 2)):
        scores = rng.standard_cauchy(shape)
        pooled = scores.reshape(*shape[:-2], -1)
        for share in (0.0, 0.1, 0.25):
            expected = scipy.stats.trim_mean(pooled, share, axis=-1)
            np.testing.assert_allclose(module.trimmed_mean(scores, share=share), expected, rtol=1e-12)
    assert module.trimmed_mean([[1.0], [2.0], [3.0], [4.0], [math.inf]], share=0.2) == 3.0
    for wrong in ([1.0], np.zeros((0, 2)), [[math.nan]]):
        with pytest.raises(ValueError, match="scores"):
            module.trimmed_mean(wrong)


def test_a_statistics_interval_covers(skeleton: Any) -> None:
    module = skeleton("statistic")
    rng, repeats = np.random.default_rng(1), 200
    covered = 0
    for seed in range(repeats):
        scores = rng.standard_t(3, (10, 4))
        interval = stats.stratified_bootstrap(scores, module.trimmed_mean, resamples=400, seed=seed).percentile
        covered += interval.low <= 0 <= interval.high
    assert covered >= 0.95 * repeats - 3 * math.sqrt(0.95 * 0.05 * repeats)
    assert module.trimmed_mean_interval(scores, seed=0).bca.estimate == module.trimmed_mean(scores)


def test_a_report_table_is_shown_as_the_others_are(skeleton: Any) -> None:
    module = skeleton("report_table")
    # Every made-up trial compiles for half a second: 5 points on 2 seeds and 10 final ones, of which adam lacks 5.
    comparison = make_summary(
        make_plan(("sgd", "adam")),
        missing=lambda label, trial: label == "adam" and trial.stage == "final" and trial.seed >= 5,
    ).comparisons[0]
    part = module.part(comparison)
    cells = {"sgd": ["sgd", "10.0\N{NO-BREAK SPACE}s", "0.571"], "adam": ["adam", "7.50\N{NO-BREAK SPACE}s", "0.429"]}
    assert list(part.table.rows) == [cells[cost.label] for cost in comparison.costs]
    assert "| 0.571 |" in markdown.markdown(part.table, numbers=part.numbers)
    written = latex.latex(part.table, part.caption)
    assert r"& 0.571 \\" in written and r"\caption{Seconds of compilation over all trials}" in written
    quick = dataclasses.replace(
        comparison, costs=[dataclasses.replace(cost, compile_seconds=0.1) for cost in comparison.costs]
    )
    assert module.compilation(quick).rows == []
