# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.necks.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['SimpleFeaturePyramid']
