# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""COCO polygons that run along pixel borders, so that no pixel is lost."""

from __future__ import annotations

import cv2
import numpy as np

_SCALE = 2  # contours are traced on a mask enlarged so many times


def has_hole(mask: np.ndarray) -> bool:
    """Tell whether a mask, (H, W) bool, encloses pixels outside of it."""
    _, hierarchy = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    return hierarchy is not None and bool((hierarchy[0, :, 3] >= 0).any())


def mask_to_polygons(mask: np.ndarray) -> list[list[int]]:
    """Trace a mask without holes, (H, W) bool, along its pixel borders.

    `cv2.findContours` runs through the centres of border pixels, which would
    cost half a pixel on each side. On a mask of twice the size, rounding its
    points to whole original pixels puts them onto the pixels' corners.

    Returns:
        One polygon `[x0, y0, x1, y1, ...]` in pixels for each part.
        Rasterised by pycocotools they give the mask again, exactly.
    """
    large = mask.astype(np.uint8).repeat(_SCALE, 0).repeat(_SCALE, 1)
    contours, _ = cv2.findContours(
        large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    return [_corners(contour[:, 0]) for contour in contours]


def _corners(points: np.ndarray) -> list[int]:
    """Round a traced contour, (P, 2), and keep only where it turns."""
    points = (points + _SCALE // 2) // _SCALE
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before = points - np.roll(points, 1, 0)
    after = np.roll(points, -1, 0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return points[turns].ravel().tolist()
