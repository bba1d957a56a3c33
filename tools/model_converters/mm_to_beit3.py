# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Our weights by official names: `mm_to_beit3.py SRC DST`.

For models of the released form, base and large. Of a detector or a segmentor
the encoder is converted.
"""

from weight_converter import run

from beit3_mm.checkpoint import convert_ours


def main() -> None:
    """Converts one file; wrong input ends with one message."""
    run(
        'Convert a checkpoint of this project to the official names.',
        convert_ours,
        wrapping='model',
    )


if __name__ == '__main__':
    main()
