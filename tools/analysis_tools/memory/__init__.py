# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The parts of `predict_memory.py`: `hollow` builds models that take no
memory, `batches` draws what they are trained on, `step` follows a training
step by `tracker`, `strategies` says what of it a process holds, and
`report` writes the results.
"""
