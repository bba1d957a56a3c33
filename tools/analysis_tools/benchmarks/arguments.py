# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Arguments that the tools of this folder share."""

import argparse


def positive(text: str) -> int:
    """Returns a number above 0 of the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number} must be 1 or more')
    return number
