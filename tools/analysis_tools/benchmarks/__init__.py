# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The parts of `benchmark.py`: `detector` and `comparisons` build what is to
be measured, `measure` measures it, and `report` writes the results.
"""
