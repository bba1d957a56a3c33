# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Reads what data sets hold and log, for their tests."""

import logging


def messages(records, level=logging.INFO):
    """Returns the texts that were logged at a level."""
    return [r.getMessage() for r in records if r.levelno == level]


def infos(dataset):
    """Returns all samples before their transforms, without their number."""
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    for sample in samples:
        sample.pop('sample_idx')
    return samples
