# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Operators in plain torch, the same code on CPU and GPU."""

from beit3_mm.ops.soft_nms import batched_soft_nms

__all__ = ['batched_soft_nms']
