# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The layers of the Multiway Transformer; they import only torch."""
