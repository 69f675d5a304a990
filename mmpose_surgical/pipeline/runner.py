"""MMEngine's Runner with a terminal that one can read, and with what a run that is cut off needs."""
import logging
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.logging import MMLogger
from mmengine.runner import Runner

import mmpose_surgical.plugin  # noqa: F401  (registers everything)
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import write_atomically
from mmpose_surgical.pipeline.artifacts import RECORD

_MMENGINE_ABOUT_ITSELF = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')
_ONE_LINE_PER_FROZEN_LAYER = 'is skipped since its requires_grad=False'


def _is_news(record: logging.LogRecord) -> bool:
    """Progress and warnings; the pages on environment, config and hooks stay in the log file."""
    message = record.getMessage()
    if message.startswith(_MMENGINE_ABOUT_ITSELF) or message.endswith(_ONE_LINE_PER_FROZEN_LAYER):
        return False
    return record.levelno > logging.INFO or ('\n' not in message and message.startswith(('Epoch', 'Saving', 'resumed')))


class BriefRunner(Runner):
    """A Runner whose log file is complete and whose terminal shows progress only."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger, with a filter on what it prints."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_is_news)
        return logger

    @property
    def _only_tests(self) -> bool:
        return self._train_dataloader is None

    @master_only
    def dump_config(self) -> None:
        """Leave the config in the work directory; the evaluation of a training must not replace its config."""
        folder = Path(self.work_dir)
        if not (self._only_tests and (folder / RECORD).exists()):
            write_atomically(folder / Path(self.cfg.filename or 'config.py').name, self.cfg.dump)

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', strict: bool = False,
                        revise_keys: Any = ((r'^module\.', ''),)) -> dict:
        """Load weights. Training may start from part of a model; what is tested must be there as a whole.

        Raises:
            UserError: The weights are those of another model.
        """
        try:
            return super().load_checkpoint(filename, map_location, strict or self._only_tests, list(revise_keys))
        except RuntimeError as error:
            if 'do not match exactly' not in str(error):
                raise
            raise UserError('the weights do not fit the model of the config', filename,
                            'give the config that they were trained with; training left it beside them') from None
