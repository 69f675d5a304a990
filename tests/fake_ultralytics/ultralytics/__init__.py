"""What ``ultralytics_program.py`` needs of ultralytics, without a network: trains nothing and always answers alike.

``FAKE_ULTRALYTICS_STOP`` is the number of epochs after which a training that was not begun before dies.
"""
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

for _name, _content in (('models.yolo.pose', dict(PoseTrainer=object)),
                        ('data', dict(utils=SimpleNamespace(check_font=sys.exit))),
                        ('utils.torch_utils', dict(strip_optimizer=None))):
    _module = ModuleType(_name)
    vars(_module).update(_content)
    sys.modules[f'{__name__}.{_name}'] = _module


class YOLO:
    """Its checkpoint is a JSON file with the number of epochs and the arguments of the training."""

    def __init__(self, model: str, task: str) -> None:
        assert task == 'pose'
        self.model = model
        self.callbacks = {}

    def add_callback(self, event: str, callback) -> None:
        self.callbacks[event] = callback

    def train(self, trainer: type, save_dir: str, exist_ok: bool, resume: str | bool, **arguments) -> None:
        assert trainer.__name__ == 'Trainer' and exist_ok
        sys.modules['ultralytics.data'].utils.check_font('Arial.ttf')  # it would fetch one
        data = json.loads(Path(arguments['data']).read_text())
        assert data['kpt_oks_sigmas'] == [0.05] * 3
        folder = Path(data['path'])
        images, labels = (sorted(path.stem for path in (folder / kind).iterdir()) for kind in ('images', 'labels'))
        assert images == labels and images
        begun = json.loads(Path(resume).read_text())['epochs'] if resume else 0
        self.trainer = SimpleNamespace(last=Path(save_dir) / 'last.pt', epochs=arguments['epochs'])
        for self.trainer.epoch in range(begun, arguments['epochs']):
            if not begun and str(self.trainer.epoch) == os.environ.get('FAKE_ULTRALYTICS_STOP'):
                sys.exit('out of memory')
            self.trainer.last.write_text(json.dumps(dict(
                epochs=self.trainer.epoch + 1, resumed=begun, model=self.model, arguments=arguments)))
            self.callbacks['on_model_save'](self.trainer)
            self.callbacks['on_fit_epoch_end'](self.trainer)
        if not begun and str(arguments['epochs']) == os.environ.get('FAKE_ULTRALYTICS_STOP'):
            sys.exit('out of memory')

    def predict(self, source: str, **arguments):
        assert json.loads(Path(self.model).read_text()) and arguments['stream']
        assert not (Path(source).parent / 'labels').exists()
        for path in sorted(Path(source).iterdir()):
            points = np.array([[[20., 10., 0.8], [30., 10., 0.6], [64., 48., 1.0]]])
            yield SimpleNamespace(path=str(path), boxes=SimpleNamespace(conf=np.array([0.5])),
                                  keypoints=SimpleNamespace(data=points))
