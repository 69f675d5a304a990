"""Videos whose every frame tells its number."""
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10


def picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame (H, W, 3) BGR with its number as ten black or white bars, and a mark that only the top left has."""
    frame = np.full((height, width, 3), 90, np.uint8)
    bar = width // BITS
    for bit in range(BITS):
        frame[height // 3:, bit * bar:(bit + 1) * bar] = 235 if number >> bit & 1 else 20
    frame[:height // 4, :width // 4] = (20, 20, 235)
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded frame of this kind tells."""
    height, width = frame.shape[:2]
    bar = width // BITS
    return sum(int(frame[height // 2, bit * bar + bar // 2].mean() > 128) << bit for bit in range(BITS))


def write_video(path: Path, count: int, *, size: tuple[int, int] = (96, 64), gop: int = 12, fps: int = 25,
                ticks: Sequence[int] | None = None, rotation: int = 0, codec: str = 'libx264',
                pix_fmt: str = 'yuv420p', first: int = 0) -> Path:
    """Encode frames ``first`` and on, with B-frames where the codec has them.

    ``ticks`` are the time stamps of the frames, of which there are 1000 a second; by default the rate is constant.
    """
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.gop_size = gop
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if codec == 'libx264':
            stream.options = {'crf': '10', 'bf': '2', 'sc_threshold': '0'}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(first + number, *size), format='bgr24')
            if ticks is not None:
                frame.pts, frame.time_base = ticks[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damaged(path: Path, out: Path, *which: int) -> Path:
    """A copy of a video in which packets, by their place in the file, are noise behind their first bytes."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in which:
        pos, size = packets[place]
        content[pos + 8:pos + size] = rng.bytes(size - 8)
    out.write_bytes(content)
    return out
