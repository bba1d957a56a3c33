# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""BEiT-3, one Multiway Transformer for every task, on OpenMMLab's hosts."""

from beit3_mm import compat

__version__ = '0.1.0'

compat.install()
