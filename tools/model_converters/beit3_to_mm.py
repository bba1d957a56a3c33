# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Official BEiT-3 weights by our names: `beit3_to_mm.py SRC DST`.

Not needed for training and testing: `load_from` and `init_cfg` take official
files as they are. `mm_to_beit3.py` gives back the same weights, bit for bit.
"""

from weight_converter import run

from beit3_mm.checkpoint import convert_official


def main() -> None:
    """Converts one file; wrong input ends with one message."""
    run(
        'Convert an official BEiT-3 file to the names of this project.',
        convert_official,
        wrapping='state_dict',
    )


if __name__ == '__main__':
    main()
