# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from pathlib import Path

import pytest

import beit3_mm

ROOT = Path(beit3_mm.__file__).parents[1]


@pytest.fixture
def run_python():
    """Runs code in a fresh interpreter and returns what it prints."""

    def run(code, *search_paths):
        paths = [str(ROOT), *map(str, search_paths)]
        env = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
        done = subprocess.run(
            [sys.executable, '-c', code],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def write_files(tmp_path):
    """Writes a folder of small text files and returns it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write
