"""Runs tools/train.py and kills it at a place named by SSAL3D_TEST_KILL_AT, as a power failure would."""

import os
import runpy
import signal

from mmengine.hooks import Hook

import ssal3d.bank.box_bank
import ssal3d.loop.file_annotator
import ssal3d.loop.handing_out
import ssal3d.loop.journal
import ssal3d.loop.steps
import ssal3d.predictions.part_files
import ssal3d.stages.run

WHERE, _, WHAT = os.environ['SSAL3D_TEST_KILL_AT'].partition(' ')
current = {'step': ''}
counts = {}


def reach(step: str, what: str) -> None:
    if step == WHERE and what == WHAT:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(owner, name, label, before=True):
    """Kill before or after the n-th call of a function."""
    original = getattr(owner, name)

    def wrapper(*args, **kwargs):
        key = (current['step'], label)
        counts[key] = counts.get(key, 0) + 1
        if before:
            reach(current['step'], f'{label} {counts[key]}')
        result = original(*args, **kwargs)
        if not before:
            reach(current['step'], f'{label} {counts[key]}')
        return result

    setattr(owner, name, wrapper)


def follow_steps(steps):
    original = steps.do

    def step(self, name, *args, **kwargs):
        current['step'] = name
        return original(self, name, *args, **kwargs)

    steps.do = step


def kill_before_recording(journal):
    original = journal.record

    def record(self, name, *args, **kwargs):
        reach(name, 'record')
        return original(self, name, *args, **kwargs)

    journal.record = record


class KillHook(Hook):
    """Kills after an iteration of the running stage."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        reach(current['step'], f'epoch {runner.epoch} iter {batch_idx}')


follow_steps(ssal3d.loop.steps.Steps)
kill_before_recording(ssal3d.loop.journal.Journal)
counted(ssal3d.predictions.part_files, 'write_part', 'part')
counted(ssal3d.bank.box_bank.BoxBank, 'publish', 'publish', before=False)
counted(ssal3d.loop.file_annotator.FileAnnotator, 'hand_out', 'asked')  # the query is there, the files are not
counted(ssal3d.loop.file_annotator.FileAnnotator, 'hand_out', 'handed out', before=False)
counted(ssal3d.loop.handing_out, 'store', 'stored', before=False)
counted(ssal3d.stages.run.QuietRunner, 'save_checkpoint', 'checkpoint')

build = ssal3d.stages.run.QuietRunner.from_cfg


def from_cfg_with_hook(cfg):
    runner = build(cfg)
    runner.register_hook(KillHook())
    return runner


ssal3d.stages.run.QuietRunner.from_cfg = from_cfg_with_hook

runpy.run_path('tools/train.py', run_name='__main__')
