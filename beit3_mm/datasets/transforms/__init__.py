# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.transforms.formatting import PackMultimodalInputs
from beit3_mm.datasets.transforms.images import (
    TransformImages,
    TranslatePixels,
)
from beit3_mm.datasets.transforms.loading import LoadImageFromFile
from beit3_mm.datasets.transforms.masked_modeling import BlockMask, TwoViews
from beit3_mm.datasets.transforms.packed_text import PackText
from beit3_mm.datasets.transforms.text import MaskText, TokenizeText
from beit3_mm.datasets.transforms.visual_tokens import LoadVisualTokens

__all__ = [
    'BlockMask',
    'LoadImageFromFile',
    'LoadVisualTokens',
    'MaskText',
    'PackMultimodalInputs',
    'PackText',
    'TokenizeText',
    'TransformImages',
    'TranslatePixels',
    'TwoViews',
]
