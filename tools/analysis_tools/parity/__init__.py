# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The parts of `tools/analysis_tools/check_parity.py`."""
