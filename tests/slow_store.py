"""Imported by a config (``custom_imports``): stores become slow, so that a kill meets a stage that only writes one."""
import time

from mmpose_surgical.priors.store import RecordStore

_append = RecordStore._append


def _append_slowly(self: RecordStore, *args, **kwargs) -> None:
    time.sleep(0.04)
    _append(self, *args, **kwargs)


RecordStore._append = _append_slowly
