"""A pinhole camera over the ground plane.

World: x right, height up, z ahead (m). Camera: x right, y down, z ahead, as KITTI has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size

FOCAL_PX, CENTRE_X_PX, CENTRE_Y_PX = 721.5377, 609.5593, 172.854
CAMERA_HEIGHT_M = 1.65
NEAR_M = 0.4
SIZE = Size(375, 1242)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Where the camera stands (x, height, z) and how it looks: yaw to the right, pitch down.

    The optical axis meets the image at `centre_x_px` and `centre_y_px`.
    """

    x: float = 0.0
    height: float = CAMERA_HEIGHT_M
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    focal_px: float = FOCAL_PX
    size: Size = SIZE
    centre_x_px: float = CENTRE_X_PX
    centre_y_px: float = CENTRE_Y_PX

    @property
    def matrix(self) -> Floats:
        """The (3, 4) projection of homogeneous world points (x, height, z, 1) to pixels."""
        intrinsic = np.array(
            [[self.focal_px, 0, self.centre_x_px], [0, self.focal_px, self.centre_y_px], [0, 0, 1]]
        )
        return intrinsic @ self._pose()

    def _pose(self) -> Floats:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        low, dip = math.cos(self.pitch), math.sin(self.pitch)
        turn = np.array(
            [[cos, 0, -sin], [-dip * sin, -low, -dip * cos], [low * sin, -dip, low * cos]]
        )
        return np.column_stack([turn, -turn @ np.array([self.x, self.height, self.z])])

    def to_camera(self, points: Floats) -> Floats:
        """Return (n, 3) world points in the camera's axes (n, 3)."""
        pose = self._pose()
        return points @ pose[:, :3].T + pose[:, 3]

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return pixels (n, 2) and depths (n,) of world points (n, 3).

        What lies behind the lens has no image: its depth is taken as the nearest that has one.
        """
        seen = self.to_camera(points)
        scale = self.focal_px / np.maximum(seen[:, 2], NEAR_M)
        pixels = seen[:, :2] * scale[:, None] + (self.centre_x_px, self.centre_y_px)
        return pixels, seen[:, 2]

    @property
    def horizon_row(self) -> float:
        """The image row in which the ground ends."""
        return self.centre_y_px - self.focal_px * math.tan(self.pitch)

    def ground_map(self) -> Floats:
        """Return the (3, 3) map of ground points (x, z, 1) to pixels."""
        return self.matrix[:, [0, 2, 3]]

    def wall_map(self, x: float) -> Floats:
        """Return the (3, 3) map of points (z, height, 1) on the upright plane at `x` to pixels."""
        whole = self.matrix
        return np.column_stack([whole[:, 2], whole[:, 1], x * whole[:, 0] + whole[:, 3]])
