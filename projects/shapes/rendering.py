# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Draws scenes in parallel and writes each image once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from polygons import mask_to_polygons
from scenes import Scene, SceneObject, make_scene

_REPORT_SECONDS = 3.0
_SCENES_PER_WORKER = 100  # fewer do not repay the start of a process
# Quality that keeps the colour of an 8 px object: no chroma subsampling.
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@dataclass(frozen=True)
class Job:
    """A scene to make and the files it goes to.

    Attributes:
        split: Name of the scene's split; with `index` it is the scene.
        class_id: Makes a scene of one object of this class.
        images: Paths, relative to the output folder, of the image. Those
            with the same suffix are one file under several names.
        semantic: Path of the mask of class ids + 1, with 0 for background.
        polygons: Whether the outlines of the visible parts are needed.
    """

    split: str
    index: int
    class_id: int | None = None
    images: tuple[str, ...] = ()
    semantic: str | None = None
    polygons: bool = False


@dataclass(frozen=True)
class Record:
    """What is known about a scene once its image is written.

    Attributes:
        polygons: Of each object, if the job asks for them, else empty.
    """

    split: str
    index: int
    size: int
    objects: tuple[SceneObject, ...]
    polygons: tuple[list[list[int]], ...]
    texture: str


def merge_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Join the jobs of several formats that concern the same scene."""
    merged: dict[tuple[str, int], Job] = {}
    for job in jobs:
        key = (job.split, job.index)
        known = merged.get(key, Job(job.split, job.index, job.class_id))
        merged[key] = Job(
            split=job.split,
            index=job.index,
            class_id=job.class_id,
            images=tuple(dict.fromkeys(known.images + job.images)),
            semantic=job.semantic or known.semantic,
            polygons=job.polygons or known.polygons,
        )
    return list(merged.values())


def _encode(image: np.ndarray, suffix: str) -> bytes:
    """Encode an (S, S, 3) RGB image or an (S, S) mask."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    params = [] if suffix == '.png' else _JPEG
    return cv2.imencode(suffix, image, params)[1].tobytes()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where links are not possible."""
    try:
        os.link(source, target)
    except OSError:  # for example exFAT, or some network file systems
        shutil.copyfile(source, target)


def semantic_mask(scene: Scene) -> np.ndarray:
    """Return (S, S) uint8: class id + 1 of the visible object, else 0."""
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    for obj, visible in zip(scene.objects, scene.masks):
        mask[visible] = obj.class_id + 1
    return mask


def render(job: Job, folder: Path, seed: int, size: int) -> Record:
    """Make one scene and write its files below `folder`."""
    scene = make_scene(seed, job.split, job.index, size, job.class_id)
    written: dict[str, Path] = {}
    for name in job.images:
        path = folder / name
        suffix = path.suffix.lower()
        if suffix in written:
            _link(written[suffix], path)
        else:
            path.write_bytes(_encode(scene.image, suffix))
            written[suffix] = path
    if job.semantic is not None:
        mask = _encode(semantic_mask(scene), '.png')
        (folder / job.semantic).write_bytes(mask)
    masks = scene.masks if job.polygons else ()
    return Record(
        split=job.split,
        index=job.index,
        size=size,
        objects=scene.objects,
        polygons=tuple(map(mask_to_polygons, masks)),
        texture=scene.texture,
    )


def render_all(
    jobs: list[Job], folder: Path, seed: int, size: int
) -> list[Record]:
    """Make all scenes on all available cores, in the order of `jobs`."""
    paths = [name for job in jobs for name in job.images]
    paths += [job.semantic for job in jobs if job.semantic is not None]
    for parent in sorted({(folder / path).parent for path in paths}):
        parent.mkdir(parents=True, exist_ok=True)
    work = partial(render, folder=folder, seed=seed, size=size)
    workers = min(os.cpu_count() or 1, len(jobs) // _SCENES_PER_WORKER)
    if workers < 2:
        return _collect(map(work, jobs), len(jobs))
    # Not forked: OpenCV's threads, if it has begun some, would be waited for
    # in the child, where they are not.
    context = multiprocessing.get_context('spawn')
    with context.Pool(workers, cv2.setNumThreads, (1,)) as pool:
        return _collect(pool.imap(work, jobs, chunksize=16), len(jobs))


def _collect(records: Iterable[Record], total: int) -> list[Record]:
    """Gather the records, printing progress and the time left."""
    done: list[Record] = []
    start = reported = time.monotonic()
    for record in records:
        done.append(record)
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            left = (now - start) / len(done) * (total - len(done))
            print(
                f'  {len(done)}/{total} scenes, {left:.0f} s left', flush=True
            )
    return done
