"""Gaussian landmark heatmaps: several points per landmark type, and none where nothing acts."""
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.codecs.utils.refinement import refine_keypoints_dark
from mmpose.registry import KEYPOINT_CODECS

from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import ACTIONS, LANDMARKS, SLOTS, landmark_of


@KEYPOINT_CODECS.register_module()
class LandmarkHeatmap(BaseKeypointCodec):
    """One heatmap per landmark type, or per landmark type and action; all points of one share its map (paper, section
    2.1).

    Unlike :class:`mmpose.codecs.MSRAHeatmap`, any number of tools may act, a landmark that is absent gets a zero
    map with weight 1 so that the network learns to abstain, and decoding returns up to one peak per slot.

    With ``channels='action_landmark'`` a tool's points go into the maps of its action: the network must tell what is
    being done. The action is not given at test time, so decoding takes, per landmark type, the maximum over its maps,
    and then as ever: a point that two actions claim is one point.

    Args:
        input_size: Width and height of the network input in pixels.
        heatmap_size: Width and height of the maps.
        sigma: Standard deviation of the Gaussian in heatmap pixels.
        slots: Keypoint names, one per point that decoding may return; trailing digits name the same landmark.
        landmarks: Landmark types in the order of the channels.
        channels: ``landmark`` (C = L = 2) or ``action_landmark`` (C = L * A = 6: all actions of the first landmark
            type, then of the next).
        actions: Names of the actions in the order of the channels of one landmark type.
        nms_kernel: Side of the window in which a peak must be the maximum, in heatmap pixels. Peaks closer than
            about one sigma belong to one point.
        blur_kernel: Side of the Gaussian that smooths a map before sub-pixel refinement (DARK, Zhang et al. 2020). By
            default it is narrower than the target's Gaussian: a wider one joins two near tips, and both are then
            refined towards the middle between them.
    """

    auxiliary_encode_keys = {'landmark_annotated', 'tool_actions'}
    label_mapping_table = dict(keypoint_weights='keypoint_weights')
    field_mapping_table = dict(heatmaps='heatmaps')

    def __init__(self,
                 input_size: tuple[int, int],
                 heatmap_size: tuple[int, int],
                 sigma: float = 2.0,
                 slots: Sequence[str] = SLOTS,
                 landmarks: Sequence[str] = LANDMARKS,
                 channels: Literal['landmark', 'action_landmark'] = 'landmark',
                 actions: Sequence[str] = ACTIONS,
                 nms_kernel: int = 5,
                 blur_kernel: int | None = None) -> None:
        super().__init__()
        if channels not in ('landmark', 'action_landmark'):
            raise UserError(f'codec.channels is {channels}', fix='use landmark or action_landmark')
        self.input_size = tuple(input_size)
        self.heatmap_size = tuple(heatmap_size)
        self.sigma = sigma
        self.slots = tuple(slots)
        self.landmarks = tuple(landmarks)
        self.actions = tuple(actions) if channels == 'action_landmark' else ()
        self.nms_kernel = nms_kernel
        self.blur_kernel = blur_kernel or 2 * max(1, int(1.5 * sigma)) + 1
        self.channel_of_slot = np.array([self.landmarks.index(landmark_of(slot)) for slot in self.slots])
        self.scale_factor = (np.array(input_size) / heatmap_size).astype(np.float32)

    def encode(self,
               keypoints: np.ndarray,
               keypoints_visible: np.ndarray | None = None,
               landmark_annotated: np.ndarray | None = None,
               tool_actions: Sequence[str | None] | None = None) -> dict:
        """Landmarks to target maps.

        Args:
            keypoints: (N, K, 2) in input pixels, N tools with K slots each.
            keypoints_visible: (N, K); 0 means that this slot is empty.
            landmark_annotated: (L,), 0 where the data never annotates that landmark type.
            tool_actions: N actions, read with ``channels='action_landmark'`` alone.

        Returns:
            ``heatmaps`` (C, h, w) float32 in [0, 1], the maximum of the Gaussians of one map, and
            ``keypoint_weights`` (1, C), 0 only where a type is not annotated.

        Raises:
            UserError: A tool does what none of the channels is for.
        """
        width, height = self.heatmap_size
        if keypoints_visible is None:
            keypoints_visible = np.ones(keypoints.shape[:2], dtype=np.float32)
        per_landmark = len(self.actions) or 1
        heatmaps = np.zeros((len(self.landmarks) * per_landmark, height, width), dtype=np.float32)
        xs, ys = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        for row, (tool, visible) in enumerate(zip(keypoints / self.scale_factor, keypoints_visible)):
            for (x, y), shown, landmark in zip(tool, visible, self.channel_of_slot):
                # A point that augmentation moved out of the picture is absent: half a Gaussian at the border would
                # teach the network to answer there.
                if shown <= 0 or not (0 <= x < width and 0 <= y < height):
                    continue
                channel = landmark * per_landmark + self._action_index(tool_actions, row)
                gaussian = np.outer(np.exp(-(ys - y)**2 / (2 * self.sigma**2)),
                                    np.exp(-(xs - x)**2 / (2 * self.sigma**2)))
                np.maximum(heatmaps[channel], gaussian, out=heatmaps[channel])
        weights = np.ones(len(self.landmarks)) if landmark_annotated is None else landmark_annotated
        return dict(heatmaps=heatmaps,
                    keypoint_weights=np.repeat(np.asarray(weights, dtype=np.float32), per_landmark)[None])

    def _action_index(self, tool_actions: Sequence[str | None] | None, row: int) -> int:
        if not self.actions:
            return 0
        action = None if tool_actions is None else tool_actions[row]
        if action not in self.actions:
            raise UserError(f'an acting tool does "{action}", for which there is no channel', 'codec.actions',
                            f'name every action of the data; named are {", ".join(self.actions)}')
        return self.actions.index(action)

    def per_landmark(self, encoded: np.ndarray) -> np.ndarray:
        """Maps (C, h, w) to one per landmark type (L, h, w): the maximum over its actions."""
        return encoded.reshape(len(self.landmarks), -1, *encoded.shape[1:]).max(1)

    def decode(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps to landmarks.

        Args:
            encoded: (C, h, w) heatmaps.

        Returns:
            Keypoints (1, K, 2) in input pixels and scores (1, K) in [0, 1]. Slots of one landmark type are filled by
            falling score; an empty slot has score 0 and lies at the origin.

        Raises:
            UserError: A map is not finite; a diverged network must not look like one that abstains.
        """
        if not np.isfinite(encoded).all():
            raise UserError('heatmaps are not finite: the network has diverged',
                            fix='train again with a lower learning rate (optim_wrapper.optimizer.lr)')
        keypoints = np.zeros((1, len(self.slots), 2), dtype=np.float32)
        scores = np.zeros((1, len(self.slots)), dtype=np.float32)
        window = np.ones((self.nms_kernel, self.nms_kernel), np.uint8)
        encoded = self.per_landmark(np.asarray(encoded, dtype=np.float32))
        for channel, heatmap in enumerate(encoded):
            is_peak = (heatmap >= cv2.dilate(heatmap, window)) & (heatmap > 0)
            ys, xs = _one_per_plateau(is_peak)
            slots = np.flatnonzero(self.channel_of_slot == channel)
            order = np.argsort(-heatmap[ys, xs], kind='stable')[:len(slots)]
            for slot, peak in zip(slots, order):
                keypoints[0, slot] = xs[peak], ys[peak]
                scores[0, slot] = min(float(heatmap[ys[peak], xs[peak]]), 1.0)
        found = np.flatnonzero(scores[0])
        keypoints[:, found] = self._refine(keypoints[:, found], encoded[self.channel_of_slot[found]])
        return keypoints * self.scale_factor, scores

    def _refine(self, keypoints: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
        refined = refine_keypoints_dark(keypoints.copy(), np.array(heatmaps, dtype=np.float32), self.blur_kernel)
        # A maximum lies in the pixel that is highest. The Newton step is unbounded on a nearly flat map, and goes
        # astray beside another peak, whose foot is steep on the logarithmic scale.
        return keypoints + np.clip(refined - keypoints, -0.5, 0.5)


def _one_per_plateau(is_peak: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of peaks, the first cell of each connected plateau: equal neighbours are one point."""
    _, labels = cv2.connectedComponents(is_peak.astype(np.uint8), connectivity=8)
    ys, xs = np.nonzero(is_peak)
    _, first = np.unique(labels[ys, xs], return_index=True)
    return ys[first], xs[first]
