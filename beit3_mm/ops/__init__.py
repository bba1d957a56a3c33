# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Operators in plain torch; they import only torch."""

from beit3_mm.ops.ms_deform_attn import multi_scale_deformable_attention
from beit3_mm.ops.soft_nms import batched_soft_nms

__all__ = ['batched_soft_nms', 'multi_scale_deformable_attention']
