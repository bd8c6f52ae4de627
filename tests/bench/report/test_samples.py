"""What models generate: stored once, drawn as images and points that can be read back."""

import io
import re
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.problems import catalog
from dlkit.bench.report import samples
from dlkit.bench.report.page import write_report
from dlkit.bench.spec.budget import Budget
from dlkit.bench.store.store import Store
from tests.bench.synthetic import PROGRAM, fill, make_plan

INLINE = bench.Resources(executor="inline")

IMAGES = np.random.default_rng(0).uniform(-0.2, 1.2, (5, 3, 4)).astype(np.float32)
POINTS = np.array([[0.0, 0.0], [1.0, 0.5], [-1.0, 2.0], [90.0, 0.0]], np.float32)


def with_samples(folder: Path | None, samples: np.ndarray) -> Store:
    """A filled run whose first final trials have samples."""
    store = Store(folder)
    plan = make_plan()
    fill(store, plan)
    finals = [each for each in store.records().values() if each.outcome.trial.identity["stage"] == "final"]
    first = [each.outcome for each in finals if each.outcome.trial.seed == 0]
    assert len(first) == 3
    store.add([replace(each, samples=samples) for each in first], PROGRAM)
    return store


def stored(store: Store) -> list[Outcome]:
    return [each.outcome for each in store.records().values() if each.outcome.samples is not None]


def test_samples_come_back_from_the_store_as_they_were(tmp_path: Path) -> None:
    for drawn in (IMAGES, POINTS):
        with with_samples(tmp_path / str(drawn.ndim), drawn) as store:
            assert len(stored(store)) == 3
            for outcome in stored(store):
                np.testing.assert_array_equal(outcome.samples, drawn)
            store.add([replace(stored(store)[0], samples=None)], PROGRAM)
            assert len(stored(store)) == 2


def test_images_are_a_grid_that_a_reader_of_png_files_finds_again() -> None:
    grid = samples.grid_of_images(IMAGES)
    assert grid.shape == (2 * 3 + 1, 3 * 4 + 2)
    read = np.round(matplotlib.image.imread(io.BytesIO(samples.png(grid)), format="png") * 255)
    np.testing.assert_array_equal(read, grid)
    # the fourth image begins the second row; the last place is empty
    np.testing.assert_array_equal(read[4:, :4], np.round(np.clip(IMAGES[3], 0, 1) * 255))
    assert (read[4:, 10:] == 255).all() and (read[3] == 255).all()


def test_points_lie_where_they_are_and_upwards() -> None:
    drawn = samples.square_of_points(POINTS, 2.0, "of <me>")
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert places == [(110.0, 110.0), (165.0, 82.5), (55.0, 0.0)]
    assert "of &lt;me&gt;" in drawn


@pytest.mark.slow
def test_the_report_shows_every_contenders_samples(tmp_path: Path) -> None:
    with with_samples(None, IMAGES) as store:
        page = write_report(summarize(store), tmp_path / "report.html").read_text()
    assert len(re.findall(r'<img alt="samples of \w+" src="data:image/png;base64,[\w+/=]+">', page)) == 3
    assert all(f'alt="samples of {label}"' in page for label in ("sgd", "adam", "lion"))
    cloud = np.concatenate([np.tile(POINTS[:3], (33, 1)), POINTS[3:]])
    with with_samples(None, cloud) as store:
        page = write_report(summarize(store), tmp_path / "report.html").read_text()
    assert page.count("1 of 100 points lie outside") == 3
    with Store(None) as store:
        fill(store, make_plan())
        assert "samples-of" not in write_report(summarize(store), tmp_path / "report.html").read_text()


@pytest.mark.parametrize("first_study", [0, 5])
def test_a_run_keeps_the_samples_of_the_first_studys_first_seed_alone(tmp_path: Path, first_study: int) -> None:
    game = catalog.get("bilinear-game", dimension=2)
    both = replace(game, samples=lambda params, state: jnp.stack([params["x"], params["y"]]))
    bench.compare(
        problems=[both],
        optimizers=["sgd"],
        budget=Budget(
            steps=2, evaluations=1, studies=3, first_study=first_study, tuning_points=1, tuning_seeds=1, seeds=2
        ),
        resources=INLINE,
        folder=tmp_path / "run",
    )
    with Store(tmp_path / "run", write=False) as store:
        outcomes = stored(store)
    assert [(each.trial.stage, each.trial.seed) for each in outcomes] == [("final", 1000 * first_study)]
    for outcome in outcomes:
        assert outcome.samples.shape == (2, 2) and outcome.samples.dtype == np.float32
