# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Shares of a model's memory, compared with counts by hand."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Lets tests import what the tool imports."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'analysis_tools')


def a_usage():
    from memory.step import Usage
    from memory.tracker import CASTS, GRADIENTS, OTHERS, PARAMETERS, STATES

    whole = {PARAMETERS: 1010, STATES: 1600}
    return Usage(
        parameters=1000,
        unsharded=10,
        gradients=800,
        states=1600,
        layer=300,
        root=100,
        gathered=2 * 300 + 100,
        peak=Counter({**whole, GRADIENTS: 100, OTHERS: 5000, CASTS: 90}),
        working_peak=Counter({**whole, OTHERS: 5000, CASTS: 90}),
        parts=((10, 800, True), (1, 200, False)),
        step_copy=700,
    )


def test_ddp_adds_buckets_as_large_as_the_gradients():
    from memory.strategies import BUCKETS, ddp

    alone, both = ddp(a_usage(), 1, None), ddp(a_usage(), 2, None)
    assert alone.total == 1010 + 1600 + 100 + 5000 + 90
    assert both.rows == {**alone.rows, BUCKETS: 800}
    assert both.total == alone.total + 800


def test_the_step_of_the_optimizer_can_be_the_peak():
    from memory.strategies import ddp

    usage = replace(a_usage(), peak=Counter(parameters=1010))
    assert ddp(usage, 1, None).total == 1010 + 1600 + 800 + 700


def test_fsdp2_divides_what_can_be_shared():
    from memory.strategies import CASTS, GATHERED, OTHERS, STATES, fsdp2

    rows = fsdp2(a_usage(), 4, None).rows
    # 10 rows in 4 shares: the largest has 3; a single row is not divided
    assert rows['parameters'] == 80 * 3 + 200 + 10
    assert rows['gradients'] == 80 * 3
    assert rows[STATES] == 2 * 80 * 3
    assert rows[GATHERED] == (2 * 300 + 100) + (300 + 100) + 2 * 300
    assert (rows[OTHERS], rows[CASTS]) == (5000, 90)
    rows = fsdp2(a_usage(), 4, 'bfloat16').rows
    assert rows[GATHERED] == (2 * 300 + 100) // 2 + (300 + 100) // 2 + 600
    assert (rows[OTHERS], rows[CASTS]) == (5000, 0)


def test_with_few_devices_the_step_of_the_optimizer_can_be_the_peak():
    from memory.strategies import GATHERED, OTHERS, STATES, fsdp2

    rows = fsdp2(replace(a_usage(), step_copy=10**5), 2, None).rows
    share = 80 * 5 / 800  # of the gradients
    assert (rows[OTHERS], rows[GATHERED]) == (share * 10**5, 0)
    assert (rows['gradients'], rows[STATES]) == (share * 800, share * 1600)


def test_layers_that_stay_gathered():
    from memory.step import gathered_at_once, num_bytes

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    layer, root, size = 80, 40, num_bytes(model.parameters())
    for strategy, found in (
        (None, 2 * layer + root),
        (dict(reshard_after_forward=True), 2 * layer + root),
        (dict(reshard_after_forward=False), size + layer),
    ):
        cfg = Config(dict(strategy=strategy))
        assert gathered_at_once(cfg, model, layer, root) == found


def test_a_model_without_layers_cannot_be_shared():
    from memory.strategies import fsdp2

    with pytest.raises(ValueError, match=r'no layer.*strategy\.layers'):
        fsdp2(replace(a_usage(), layer=0), 4, None)


def test_parameters_without_a_dimension_cannot_be_shared():
    from memory.strategies import fsdp2

    usage = replace(a_usage(), parts=((0, 4, True),))
    with pytest.raises(ValueError, match=r'without a dimension.*fsdp2'):
        fsdp2(usage, 4, None)
