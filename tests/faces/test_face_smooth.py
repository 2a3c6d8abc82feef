import json
from pathlib import Path

import numpy as np
import pytest

from lipsync_jax.faces import smooth

GOLDEN = Path(__file__).parent.parent / "goldens" / "wav2lip" / "smooth_boxes.json"
CASES = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{len(c['in'])}-{c['dtype']}")
def test_original_equals_wav2lip(case):
    rows = np.array(case["in"], case["dtype"])
    result = np.array(list(smooth.original(iter(rows))))
    assert result.dtype == case["dtype"]
    np.testing.assert_array_equal(result, np.array(case["out"], case["dtype"]))


@pytest.mark.parametrize("smoother", [smooth.original, smooth.gaussian])
def test_reads_at_most_five_rows_ahead(smoother):
    read = []

    def rows():
        for i in range(50):
            read.append(i)
            yield np.array([float(i)])

    for done, _ in enumerate(smoother(rows())):
        assert len(read) <= done + 6
    assert done == 49


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_gaussian_keeps_steady_motion_to_the_very_ends(count):
    rows = np.arange(count)[:, None] * [3.0, -2.0] + [10.0, 500.0]
    result = np.array(list(smooth.gaussian(rows))).reshape(count, 2)
    np.testing.assert_allclose(result, rows, atol=1e-9)


def test_gaussian_is_calmer_than_the_original_and_does_not_run_ahead():
    rng = np.random.default_rng(0)
    path = 30 * np.sin(np.arange(300) / 20)
    rows = (path + rng.normal(0, 1, 300))[:, None]

    def jitter(x):
        return np.abs(np.diff(x, 2)).mean()

    def lead(x):
        errors = [np.square(x[20:-20] - path[20 + k : 280 + k]).mean() for k in LEADS]
        return LEADS[int(np.argmin(errors))]

    ours = np.concatenate(list(smooth.gaussian(rows)))
    theirs = np.concatenate(list(smooth.original(rows)))
    assert jitter(ours) < jitter(theirs) < jitter(rows[:, 0])
    assert lead(ours) == 0
    assert lead(theirs) == 2


LEADS = range(-4, 5)
