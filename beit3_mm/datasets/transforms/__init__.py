# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.transforms.loading import LoadImageFromFile

__all__ = ['LoadImageFromFile']
