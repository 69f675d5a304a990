"""A trained model as a pair of ONNX graphs, with what a program needs to run them, checked against PyTorch."""
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmpose.codecs.base import BaseKeypointCodec
from torch import Tensor, nn

import mmpose_surgical.plugin  # noqa: F401  (registers everything)
from mmpose_surgical import __version__
from mmpose_surgical.apis.runtime_prior import AUX, NONE, has_own_masks, resolve_runtime_prior, takes_prior
from mmpose_surgical.apis.streaming import StreamedNetwork
from mmpose_surgical.apis.trained_run import TrainedRun, load_run
from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
from mmpose_surgical.datasets.windows import target_position
from mmpose_surgical.errors import UserError
from mmpose_surgical.export import onnx_check
from mmpose_surgical.export.onnx_graphs import INPUT, FrameGraph, PriorRule, WindowGraph, refuse_unknown
from mmpose_surgical.files import file_digest, read_json, remove_folder, write_json
from mmpose_surgical.landmarks import LANDMARKS, SLOTS
from mmpose_surgical.pipeline.predict import load_model
from mmpose_surgical.pipeline.run import parse_options
from mmpose_surgical.priors.prompts import PromptRule

OPSET = 17
PRIORS = (AUX, NONE, INPUT)
_STREAM = Path(__file__).with_name('onnx_stream.py')
_GEOMETRY = ('LoadClip', 'GetBBoxCenterScale', 'TopdownAffine', 'LoadMaskPrior', 'PackClipInputs')
"""Transforms of a test pipeline that the program beside the graphs does."""


@dataclass(frozen=True)
class Pair:
    """The halves of a model as modules, and what describes them.

    Args:
        run: The model.
        network: It, or the coarse network in front of it.
        frame: Its per-frame half.
        window: Its other half.
        frame_outputs: Names of what ``frame`` gives.
        metadata: What ``metadata.json`` says but for the check.
    """
    run: TrainedRun
    network: StreamedNetwork
    frame: FrameGraph
    window: WindowGraph
    frame_outputs: list[str]
    metadata: dict[str, Any]


def export_command(args: argparse.Namespace) -> int:
    """What ``tools/export.py`` does."""
    run = load_run(args.model, args.weights, parse_options(args.cfg_options))
    metadata = export_onnx(run, args.out, args.prior, args.score_thr, args.check_on)
    prior = metadata['prior']['kind']
    told = ''
    if takes_prior(run) and args.prior is None:
        told = ', the masks of the model itself' if prior == AUX else (
            ': its own masks only copy what it is given (no mask dropout); --prior input takes masks from outside')
    print(f'prior: {prior}{told}')
    for check in metadata['checked']:
        errors = ', '.join(f'{name} {error:.1e}' for name, error in check['errors'].items())
        print(f'largest error, {check["runtime"]}, {check["on"]}: {errors}')
    print(f'written: {args.out}')
    return 0


def export_onnx(run: TrainedRun, out: str | Path, prior: str | None = None, score_thr: float | None = None,
                check_on: str | Path | None = None) -> dict[str, Any]:
    """Write a model as ``frame.onnx``, ``window.onnx``, ``metadata.json`` and the program that runs them.

    Inputs and outputs of the graphs are those of :class:`FrameGraph` and :class:`WindowGraph`. A folder with an earlier
    export is replaced; nothing is left there of one that fails.

    Args:
        run: The model.
        out: The folder.
        prior: Mask prior of a refiner: ``aux``, its own mask branch; ``none``; or ``input``, masks from outside. By
            default ``aux`` of a model that can, else ``none``.
        score_thr: Least score of a point that counts; by default the thresholds that training chose.
        check_on: A video, or a folder of its frames, on which the graphs are checked besides noise.

    Returns:
        What ``metadata.json`` says; ``checked`` holds the errors of each runtime.

    Raises:
        UserError: A package is missing, the folder holds something else, the model cannot be exported, or a runtime
            does not give what PyTorch gives.
    """
    missing = [name for name in ('onnx', 'onnxruntime') if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f'{" and ".join(missing)} not installed', fix='pip install "mmpose_surgical[export]"')
    from mmpose_surgical.export.onnx_stream import FRAME, METADATA, WINDOW
    out = Path(out).resolve()
    _refuse_other_content(out)
    pair = prepare_pair(run, prior, score_thr)
    temporary = out.with_name(f'.{out.name}.{os.getpid()}.tmp')
    try:
        temporary.mkdir(parents=True)
        _write_graphs(pair, temporary / FRAME, temporary / WINDOW)
        metadata = pair.metadata | dict(checked=_check(pair, temporary / FRAME, temporary / WINDOW, check_on))
        write_json(temporary / METADATA, metadata)
        shutil.copyfile(_STREAM, temporary / _STREAM.name)
        remove_folder(out)
        os.replace(temporary, out)
    except OSError as error:
        raise UserError(f'the folder cannot be written: {error.strerror or error}', out, 'choose another --out') \
            from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metadata


def _refuse_other_content(out: Path) -> None:
    """Refuse a place that holds anything but an earlier export."""
    from mmpose_surgical.export.onnx_stream import FORMAT, FRAME, METADATA, WINDOW
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError('this is a file', out, 'name a new folder with --out')
    names = {path.name for path in out.iterdir()}
    foreign = sorted(names - {FRAME, WINDOW, METADATA, _STREAM.name, '__pycache__'})
    if not names:
        return
    described = read_json(out / METADATA) if METADATA in names else None
    if foreign or not isinstance(described, dict) or described.get('format') != FORMAT:
        raise UserError(f'the folder holds something else than an earlier export: {(foreign or sorted(names))[0]}', out,
                        'name a new folder with --out')


def prepare_pair(run: TrainedRun, prior: str | None = None, score_thr: float | None = None) -> Pair:
    """Load a model and split it; arguments and errors as of :func:`export_onnx`."""
    rule = _prior_rule(run, prior)
    thresholds = run.thresholds_or(score_thr)
    front = run.coarse or run
    network = StreamedNetwork(load_model(front.cfg, front.checkpoint, 'cpu'), front.cfg)
    refine = load_model(run.cfg, run.checkpoint, 'cpu') if run.coarse else None
    refuse_unknown(network.model, str(front.checkpoint.parent))
    _refuse_two_geometries(run)
    shares_stem = run.cfg.get('stem') == 'shared'
    position = target_position(network.num_frames, network.mode)
    frame = FrameGraph(network.model, None if shares_stem else refine)
    window = WindowGraph(network.model, position, refine, shares_stem, rule)
    decoder, processor = network.model.head.decoder, front.cfg.model.data_preprocessor
    last = dict(decoder=_describe(refine.head.decoder), coarse_decoder=_describe(decoder)) if refine else dict(
        decoder=_describe(decoder))
    from mmpose_surgical.export.onnx_stream import FORMAT, VERSION
    metadata = dict(
        format=FORMAT, version=VERSION, model=run.name,
        weights=dict(model=file_digest(run.checkpoint), coarse=run.coarse and file_digest(run.coarse.checkpoint)),
        made_with=dict(mmpose_surgical=__version__, torch=torch.__version__, opset=OPSET),
        landmarks=list(LANDMARKS), thresholds=thresholds, canvas=list(decoder.input_size),
        padding=_padding(front), mean=processor.mean, std=processor.std, bgr_to_rgb=processor.get('bgr_to_rgb', False),
        window=dict(num_frames=network.num_frames, spacing=network.spacing, mode=network.mode, target=position),
        prior=dict(kind=rule.kind, thresholds=dict(rule.thresholds), landmarks=list(rule.landmarks)), **last)
    names = ['map'] if frame.refiner is None else ['map', 'feature']
    return Pair(run, network, frame.eval(), window.eval(), names, metadata)


def _prior_rule(run: TrainedRun, asked: str | None) -> PriorRule:
    if not takes_prior(run) or asked == AUX:
        resolve_runtime_prior(run, asked, {})  # says what is wrong with it
    if not takes_prior(run):
        return PriorRule()
    kind = asked or (AUX if has_own_masks(run) else NONE)
    return PriorRule(kind, run.prompt_thresholds, PromptRule.of(run.facts['prior_config']).landmarks)


def _refuse_two_geometries(run: TrainedRun) -> None:
    """Refuse a pair whose halves see pictures differently: one picture enters the exported graphs."""
    if run.coarse is None:
        return
    names = ('codec.input_size', 'codec.heatmap_size', 'padding', 'data_preprocessor')
    theirs, ours = ((one.cfg.codec.input_size, one.cfg.codec.get('heatmap_size'), _padding(one),
                     one.cfg.model.data_preprocessor) for one in (run.coarse, run))
    for name, their, our in zip(names, theirs, ours):
        if their != our:
            raise UserError(f'pictures enter coarse network and refiner differently: {name} is {their} and {our}',
                            run.checkpoint.parent, 'train both with the same, or predict with PyTorch')


def _padding(run: TrainedRun) -> float:
    """Padding of the box over the picture."""
    transforms = {transform.type: transform for transform in run.cfg.test_dataloader.dataset.pipeline}
    strange = sorted(set(transforms) - set(_GEOMETRY))
    if strange or transforms['TopdownAffine'].get('use_udp'):
        raise UserError(f'the test pipeline has {", ".join(strange) or "TopdownAffine with use_udp"}, which the '
                        'program beside the graphs does not do', run.checkpoint.parent, 'predict with PyTorch')
    return float(transforms['GetBBoxCenterScale'].get('padding', 1.25))


def _describe(codec: BaseKeypointCodec) -> dict[str, Any]:
    """What a decoder needs to know."""
    if not isinstance(codec, LandmarkHeatmap):
        return dict(kind='simcc', slots=list(SLOTS), split_ratio=codec.simcc_split_ratio)
    return dict(kind='heatmap', slots=list(codec.slots), landmarks=list(codec.landmarks),
                input_size=list(codec.input_size), heatmap_size=list(codec.heatmap_size), nms_kernel=codec.nms_kernel,
                blur=cv2.getGaussianKernel(codec.blur_kernel, 0)[:, 0].tolist(), floor=getattr(codec, 'alpha', 0.))


# -- graphs and their check -----------------------------------------------------------------------------------------
def _example(pair: Pair) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Inputs of both graphs."""
    width, height = pair.metadata['canvas']
    pictures = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    with torch.inference_mode():
        seen = dict(zip(pair.frame_outputs, pair.frame(pictures)))
    inputs = dict(maps=seen['map'][:1].expand(pair.network.num_frames, -1, -1, -1)[None].clone(),
                  **{name: value[:1] for name, value in seen.items() if name == 'feature'},
                  **{name: torch.from_numpy(value) for name, value in _outside_mask(pair).items()})
    return pictures, tuple(inputs[name].clone() for name in pair.window.input_names)


def _outside_mask(pair: Pair) -> dict[str, np.ndarray]:
    """A mask prior from outside, if the graph takes one: noise that is valid."""
    if pair.window.prior.kind != INPUT:
        return {}
    width, height = pair.metadata['decoder']['heatmap_size']
    noise = np.random.default_rng(1).random((1, 1, height, width), np.float32)
    return dict(mask=noise, validity=np.ones(1, np.float32))


def _write_graphs(pair: Pair, frame: Path, window: Path) -> None:
    picture, inputs = _example(pair)
    _write(pair.frame, (picture, ), frame, ['picture'], pair.frame_outputs, pair.metadata, dynamic='frames')
    _write(pair.window, inputs, window, pair.window.input_names, pair.window.output_names, pair.metadata)


def _write(module: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: list[str], outputs: list[str],
           metadata: dict[str, Any], dynamic: str = '') -> None:
    """Write one graph; ``dynamic`` names the first axis of its inputs and outputs, if it is any number."""
    import onnx
    axes = {name: {0: dynamic} for name in inputs + outputs} if dynamic else None
    with warnings.catch_warnings():
        # The exporter warns of what is constant in the trace, e.g. sizes, and that a slower one is to follow it.
        warnings.simplefilter('ignore')
        # Not dynamo=True: it takes thirty times as long and writes paths of this machine into the graph.
        torch.onnx.export(module, example, str(path), input_names=inputs, output_names=outputs, dynamic_axes=axes,
                          opset_version=OPSET, dynamo=False)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {key: value if isinstance(value, str) else json.dumps(value)
                                        for key, value in metadata.items()})
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _check(pair: Pair, frame: Path, window: Path, source: str | Path | None) -> list[dict[str, Any]]:
    """Errors of every runtime at hand, on noise and on frames.

    Raises:
        UserError: One is too large.
    """
    size, count = tuple(pair.metadata['canvas']), pair.network.num_frames
    pictures = {'noise': list(onnx_check.noise_windows(size, count))}
    if source is not None:
        pictures[Path(source).name] = list(onnx_check.frame_windows(source, pair.network))
    torch_frame = onnx_check.by_torch(pair.frame, ['picture'], pair.frame_outputs)
    torch_window = onnx_check.by_torch(pair.window, pair.window.input_names, pair.window.output_names)
    checks = []
    for runtime, opened in onnx_check.installed_runtimes().items():
        see_frame, see_window = opened(frame), opened(window)
        for name, windows in pictures.items():
            errors = onnx_check.largest_errors((torch_frame, see_frame), (torch_window, see_window), windows,
                                               pair.window.target, _outside_mask(pair))
            checks.append(dict(runtime=runtime, on=name, errors=errors))
            wrong = {key: error for key, error in errors.items() if not error <= onnx_check.TOLERANCE}
            if wrong:
                told = ', '.join(f'{key} by {error:.1e} of its largest value' for key, error in wrong.items())
                raise UserError(f'{runtime} differs from PyTorch on {name}: {told}', pair.run.checkpoint.parent,
                                f'try another version of it; {onnx_check.TOLERANCE:.0e} is allowed')
    return checks
