# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from beit3_mm.datasets.samplers.permutation import Permutation


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 17, 64, 65, 1000])
def test_every_item_once(size):
    permutation = Permutation(size, (3, 0))
    assert sorted(permutation[i] for i in range(size)) == [*range(size)]
    for place in (-1, size):
        with pytest.raises(IndexError, match=f'not below {size}'):
            permutation[place]


def test_the_key_says_the_order():
    orders = [
        [Permutation(100, key)[i] for i in range(100)]
        for key in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    for first, second in ((0, 2), (0, 3), (2, 3)):
        same = np.equal(orders[first], orders[second])
        assert same.sum() < 10


def test_orders_look_random():
    """Where items go is uniform, and neighbours go different ways."""
    size, keys = 20, 2000
    orders = np.array(
        [
            [permutation[i] for i in range(size)]
            for permutation in (Permutation(size, (7, k)) for k in range(keys))
        ]
    )
    expected = keys / size
    for place in range(size):
        counts = np.bincount(orders[:, place], minlength=size)
        # chi-squared of 19 degrees: above 52 once in 15,000
        assert ((counts - expected) ** 2 / expected).sum() < 52
    steps = np.bincount(np.diff(orders).ravel() % size, minlength=size)[1:]
    expected = keys * (size - 1) / (size - 1)
    assert ((steps - expected) ** 2 / expected).sum() < 52


def test_large_sizes_need_no_list():
    permutation = Permutation(10**12, (0,))
    items = [permutation[i] for i in range(100)]
    assert len(set(items)) == 100
    assert min(items) >= 0 and max(items) < 10**12
    with pytest.raises(ValueError, match='size=0'):
        Permutation(0, (0,))
