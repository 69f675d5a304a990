"""What a stream costs: against a naive sliding window, and against MMPose's own way for single frames.

    python benchmarks/streaming_speed.py

Both sides of a ratio see the same frames in turns, in one process and one thread, with untrained weights; ratios are
medians over rounds, and A/A is a side against itself. The limit for a window of T frames is (T + f) / (1 + f): f is the
cost of all that comes behind the per-frame half over the cost of that half, timed in the same rounds.
"""
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, short_commit
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
from mmpose_surgical.apis.streaming import StreamedNetwork, samples_of
from mmpose_surgical.datasets.windows import frame_step, window_frame_ids
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
FPS = 25 / 3  # neighbours of a window are neighbours in the stream: 9 frames make a window whole
SIZES = {'MobileNetV2, 192x144': ('configs/demo/demo_coarse.py', 30, 9, (3, 5, 9)),
         'ResNet-50, 512x288': ('configs/surgical/coarse.py', 11, 2, (3, 9))}
"""Network: config, frames of a round, rounds, T."""


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(count)]


def untrained(config: str, folder: Path, options: dict[str, Any], **more: Any) -> SurgicalLandmarkInferencer:
    """An inferencer of a config with weights as they are before training."""
    from mmpose.registry import MODELS  # behind the plugin, which mends what MMPose imports
    cfg = load_config(ROOT / config, options)
    model = MODELS.build(Config(dict(model=cfg.model)).model)
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    return SurgicalLandmarkInferencer(ROOT / config, folder / 'weights.pth', 'cpu', score_thr=0.5, options=options,
                                      **more)


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def stream(inferencer: SurgicalLandmarkInferencer, frames: list[np.ndarray]) -> None:
    for _ in inferencer(frames, fps=FPS):
        pass


def naive(network: StreamedNetwork, frames: list[np.ndarray], together: bool) -> None:
    """Every window by itself, its frames through the network together or one by one."""
    step = frame_step(network.spacing, FPS)
    for target in range(len(frames)):
        numbers = window_frame_ids(target, network.num_frames, step, 0, len(frames) - 1, network.mode)
        entered = [network.prepare(frames[number]) for number in numbers]
        maps = network.per_frame(entered) if together else [network.per_frame([one])[0] for one in entered]
        features = network.features([maps])
        network.predict(features, samples_of([entered[network.num_frames // 2].meta]))


def halves(network: StreamedNetwork, frames: list[np.ndarray]) -> dict[str, Callable[[], Any]]:
    """What a stream does before and behind its ring buffer, for one frame at a time: f is the one over the other."""
    seen = [network.prepare(frame) for frame in frames]
    maps = [network.per_frame([entered])[0] for entered in seen]
    windows = [[maps[number] for number in window_frame_ids(target, network.num_frames, 1, 0, len(maps) - 1)]
               for target in range(len(maps))]
    return dict(before=lambda: [network.per_frame([network.prepare(frame)]) for frame in frames],
                behind=lambda: [network.predict(network.features([window]), samples_of([entered.meta]))
                                for window, entered in zip(windows, seen)])


def passes(inferencer: SurgicalLandmarkInferencer, frames: list[np.ndarray]) -> float:
    """Pictures that enter the per-frame network for each frame of a stream, counted in that network."""
    entered: list[int] = []
    backbone = inferencer.networks[0].model.backbone.backbone
    hook = backbone.register_forward_pre_hook(lambda module, inputs: entered.append(len(inputs[0])))
    stream(inferencer, frames)
    hook.remove()
    return sum(entered) / len(frames)


def rounds(count: int, **sides: Callable[[], Any]) -> dict[str, list[float]]:
    """Seconds of each side, in turns, the first of which goes round too; one round before does not count."""
    names, seconds = list(sides), {name: [] for name in sides}
    for number in range(count + 1):
        for name in names[number % len(names):] + names[:number % len(names)]:
            elapsed = timed(sides[name])
            if number:
                seconds[name].append(elapsed)
    return seconds


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under))


def sliding(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for network_name, (config, count, repeat, lengths) in SIZES.items():
        frames = pictures(count)
        for num_frames in lengths:
            options = {'clip.num_frames': num_frames}
            inferencer, batched = (untrained(config, folder, options, batch_size=size) for size in (1, 8))
            network, = inferencer.networks
            found = rounds(repeat, **halves(network, frames), alone=partial(naive, network, frames, False),
                           together=partial(naive, network, frames, True), stream=partial(stream, inferencer, frames),
                           again=partial(stream, inferencer, frames), batched=partial(stream, batched, frames))
            share = ratio(found['behind'], found['before'])
            limit = (num_frames + share) / (1 + share)
            rows.append(dict(
                network=network_name, num_frames=num_frames, f=share, limit=limit,
                calls_per_frame=passes(inferencer, frames),
                speedup=ratio(found['alone'], found['stream']),
                of_limit=ratio(found['alone'], found['stream']) / limit,
                speedup_over_together=ratio(found['together'], found['stream']),
                batched_over_together=ratio(found['together'], found['batched']),
                a_a=ratio(found['again'], found['stream']),
                ms_per_frame=1000 * statistics.median(found['stream']) / count))
            print(rows[-1], flush=True)
    return rows


def single(folder: Path) -> list[dict[str, Any]]:
    """SimpleBaseline in stock MMPose against the same network and weights as a stream of single frames."""
    from mmpose.apis import inference_topdown

    def one_by_one(model: torch.nn.Module, frames: list[np.ndarray]) -> None:
        for frame in frames:
            inference_topdown(model, frame)

    rows = []
    for name, config, count, repeat in (('MobileNetV2, 192x160', 'configs/demo/demo_simplebaseline.py', 40, 9),
                                        ('ResNet-50, 512x288', 'configs/surgical/baselines/simplebaseline.py', 8, 5)):
        frames = pictures(count)
        own = untrained(config, folder, {})
        batched = untrained(config, folder, {}, batch_size=8)
        stock = stock_model(own)
        expected = inference_topdown(stock, frames[0])[0].pred_instances
        found = next(own(frames[:1])).data_sample.pred_instances
        np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)
        found = rounds(repeat, stock=partial(one_by_one, stock, frames), stream=partial(stream, own, frames),
                       again=partial(stream, own, frames), batched=partial(stream, batched, frames))
        rows.append(dict(network=name, of_stock=ratio(found['stream'], found['stock']),
                         batched_of_stock=ratio(found['batched'], found['stock']),
                         a_a=ratio(found['again'], found['stream']),
                         ms={key: 1000 * statistics.median(found[key]) / count for key in found}))
        print(rows[-1], flush=True)
    return rows


def stock_model(own: SurgicalLandmarkInferencer) -> torch.nn.Module:
    """The network of an inferencer as a user of MMPose has it, ready for ``inference_topdown``."""
    from mmpose.registry import MODELS
    cfg = own.run.cfg
    model_cfg = Config(dict(model=cfg.model)).model
    model_cfg.data_preprocessor.type = 'PoseDataPreprocessor'
    model = MODELS.build(model_cfg)
    model.load_state_dict(own.networks[0].model.state_dict())
    model.cfg = Config(dict(default_scope='mmpose', test_dataloader=dict(dataset=dict(pipeline=[
        dict(type='LoadImage'), dict(type='GetBBoxCenterScale', padding=1.0),
        dict(type='TopdownAffine', input_size=tuple(cfg.codec.input_size)), dict(type='PackPoseInputs')]))))
    model.dataset_meta = own.dataset_meta
    return model.eval()


def main() -> None:
    init_default_scope('mmpose')
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        rows, singles = sliding(Path(place)), single(Path(place))
    command, machine = 'python benchmarks/streaming_speed.py', describe_machine()
    write_json(RESULTS / 'streaming_speed.json', dict(command=command, machine=machine, sliding=rows, single=singles))
    text = '\n'.join([
        '# What a stream costs', '',
        f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}, one thread, torch '
        f'{machine["torch"]}; pictures of 640x480, medians of ratios, both sides in turns.', '',
        '## Against a naive sliding window', '',
        'The limit is (T + f) / (1 + f), f the cost behind the per-frame half over the cost of that half.', '',
        'The naive window passes its T frames through the network one by one, as the limit has it, or together, which '
        'makes a frame of a small network cheaper; so do eight frames of a stream together.', '',
        '| network | T | f | limit | speed-up | of the limit | over T together | in batches of 8, over T together | '
        'A/A | network calls per frame | ms per frame |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
        *(f'| {r["network"]} | {r["num_frames"]} | {r["f"]:.2f} | {r["limit"]:.2f} | {r["speedup"]:.2f} | '
          f'{r["of_limit"]:.2f} | {r["speedup_over_together"]:.2f} | {r["batched_over_together"]:.2f} | '
          f'{r["a_a"]:.2f} | {r["calls_per_frame"]:g} | {r["ms_per_frame"]:.1f} |' for r in rows),
        '', '## One frame at a time, against `inference_topdown`', '',
        'SimpleBaseline with the same weights: stock MMPose, and the inferencer one by one and eight together.', '',
        '| network | one by one, of stock | batches of 8, of stock | A/A | ms stock | ms one by one | ms batched |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        *(f'| {r["network"]} | {r["of_stock"]:.2f} | {r["batched_of_stock"]:.2f} | {r["a_a"]:.2f} | '
          f'{r["ms"]["stock"]:.1f} | {r["ms"]["stream"]:.1f} | {r["ms"]["batched"]:.1f} |' for r in singles), ''])
    write_text(RESULTS / 'streaming_speed.md', text)
    print(text)


if __name__ == '__main__':
    main()
