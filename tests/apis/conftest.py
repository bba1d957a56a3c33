# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tiny models, built once, and images of 48 x 36 pixels."""

import numpy as np
import pytest
import tiny_tasks
from PIL import Image

from beit3_mm.apis import Inferencer

QUESTIONS = ['how many red circles are there', 'the blue square', 'above']


@pytest.fixture(scope='session')
def inferencer(tokenizer_file, tmp_path_factory):
    """Returns the inferencer of a task."""
    folder, built = tmp_path_factory.mktemp('tasks'), {}

    def get(kind):
        if kind not in built:
            files = tiny_tasks.write(kind, tokenizer_file, folder)
            built[kind] = Inferencer(*files, device='cpu')
        return built[kind]

    return get


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """Returns the paths of four PNG images."""
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    paths = []
    for i in range(4):
        pixels = np.zeros((36, 48, 3), np.uint8)
        pixels[:] = rng.integers(0, 256, 3)
        y, x = rng.integers(0, 20, 2)
        pixels[y : y + 16, x : x + 20] = rng.integers(0, 256, (16, 20, 3))
        paths.append(folder / f'photo{i}.png')
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def texts_of():
    """Returns texts that a task takes with four images."""

    def get(kind):
        number = {'vqa': 1, 'nlvr2': 2, 'retrieval': 3}.get(kind, 0)
        return QUESTIONS[:number]

    return get


@pytest.fixture
def assert_equal():
    """Compares two predictions, or lists or parts of them."""

    def compare(actual, expected):
        assert type(actual) is type(expected)
        if isinstance(actual, dict):
            assert actual.keys() == expected.keys()
            for key in actual:
                compare(actual[key], expected[key])
        elif isinstance(actual, list | tuple):
            assert len(actual) == len(expected)
            for pair in zip(actual, expected):
                compare(*pair)
        elif isinstance(actual, np.ndarray):
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        elif isinstance(actual, float):
            assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
        elif hasattr(actual, '__dataclass_fields__'):
            for name in actual.__dataclass_fields__:
                if name not in ('images', 'name', 'source'):
                    compare(getattr(actual, name), getattr(expected, name))
        else:
            assert actual == expected

    return compare
