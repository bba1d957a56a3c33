# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The file formats a set of scenes is written in, one module each.

A format offers `jobs(counts)`, the scenes and files it needs, and
`write(folder, records, seed)`, which adds its annotations once all images
are there and returns a line for each file or folder a user starts from.
"""

from __future__ import annotations

from types import ModuleType

from formats import ade20k, coco, imagenet, karpathy, nlvr2, text, vqav2

FORMATS: dict[str, ModuleType] = {
    'coco': coco,
    'ade20k': ade20k,
    'karpathy': karpathy,
    'vqav2': vqav2,
    'nlvr2': nlvr2,
    'imagenet': imagenet,
    'text': text,
}
