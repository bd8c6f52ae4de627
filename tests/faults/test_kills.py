"""Kills at random moments, fewer than `benchmarks.kills` makes: nothing is lost, changed, or left behind."""

from pathlib import Path

import pytest

from benchmarks.kills import FAULTS, Campaign


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(0, 3), (2, 12)], ids=["inline", "two workers"])
def test_kills_cost_nothing_that_was_finished(tmp_path: Path, workers: int, kills: int) -> None:
    campaign = Campaign(tmp_path, workers, seed=kills, studies=1)
    campaign.run(kills)
    assert {fault: campaign.counts[fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0), campaign.notes
    assert campaign.counts["runs that ended"] > 0
