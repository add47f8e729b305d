"""Many fine-tunings that differ in a seed, a fold or a setting, and what they say together.

One run says little: with another seed, the same settings may give several points more or less, and now and then nothing
at all (Mosbach, Andriushchenko, Klakow 2021, "On the stability of fine-tuning BERT"). So what counts is the mean over
runs, with its confidence interval, beside the number of runs that failed.

Each run is one call of `finetune` into a folder of its own below `trials/`. What is there when a search is taken up
again is not done twice: the folders are all the memory it has.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..commandline import resume_command
from ..errors import DivergedError, InputError
from ..files import parse_json_object, write_json, write_text
from ..intervals import OverRuns, mean_over_runs
from .begun import SETTINGS, checksum, fix_settings
from .finetuning import finetune, prepare
from .run_folder import CHECKPOINTS, TRIALS, prepare_folder
from .state import checkpoints
from .trials_report import write_trials_page
from .ways import ADAPTER

log = logging.getLogger("minibert")

PLAN = f"{TRIALS}/plan.json"
METRICS, DIVERGED, WEIGHTS = "metrics.json", "diverged.json", "model.safetensors"
WHERE = ("out", "resume", "overwrite")  # flags that say where a run stands, and nothing about it


@dataclass(frozen=True)
class Trial:
    """One run. setting: what it tries, in words, "" if nothing but the seed differs. arguments: those of `finetune`."""

    name: str  # of its folder
    setting: str
    arguments: argparse.Namespace
    fold: int | None = None


@dataclass(frozen=True)
class Result:
    """What came out of a run. metrics is None if it diverged. headline: the metrics to tell, the first one counts."""

    trial: Trial
    metrics: dict[str, Any] | None
    headline: Sequence[str]

    @property
    def degenerate(self) -> bool:
        """Whether it learnt nothing: no better on dev than the same answer to everything (Mosbach et al. 2021).

        The best such answer is the most frequent class; to questions of which some have no answer, none; among choices
        it does as well as chance. Other tasks tell what it scores as their `baseline`, if that is not 0.
        """
        if self.metrics is None:
            return True
        if "confusion_matrix" in self.metrics:
            classes = list(map(sum, self.metrics["confusion_matrix"]))
            return self.metrics["accuracy"] <= max(classes) / sum(classes)
        if "unanswerable" in self.metrics:
            return self.metrics["f1"] <= self.metrics["unanswerable"]["questions"] / self.metrics["questions"]
        return self.metrics[self.headline[0]] <= self.metrics.get("chance", self.metrics.get("baseline", 0))


@dataclass(frozen=True)
class Summary:
    """All runs of one setting. dev and test: the headline metrics of the runs that did not diverge."""

    setting: str
    runs: int
    degenerate: list[str]  # the names of the runs that learnt nothing
    dev: dict[str, OverRuns] = field(default_factory=dict)
    test: dict[str, OverRuns] = field(default_factory=dict)


def run_trials(
    command: str, arguments: argparse.Namespace, trials: Sequence[Trial], files: Mapping[str, str]
) -> list[Summary]:
    """Run what is not done yet; write `trials.json` and `trials.html`; keep the model of the best run in --out.

    The best run is the best on dev of the setting that is best on the mean. command and arguments: as given by the
    user; of these, --out, a folder that may be taken (`free_folder`), and --resume count here. files: to be written
    into `trials/` beforehand, by name. Returns the settings, the best first. Raises `InputError` for what the user can
    mend, and `KeyboardInterrupt` with a text that says how to go on.
    """
    out = Path(arguments.out)
    plan = [_plan(trial) for trial in trials]
    if arguments.resume and parse_json_object((out / PLAN).read_bytes(), str(out / PLAN)) != {"trials": plan}:
        raise InputError(f"{out} holds runs with other settings: --resume goes on with the same ones only.")
    headline, data = _rehearse(trials, files)
    is_new = not out.exists()
    prepare_folder(out, arguments, TRIALS)
    try:
        fix_settings(out / TRIALS / SETTINGS, {}, data)
        for name, text in files.items():
            write_text(out / TRIALS / name, text)
        write_json(out / PLAN, {"trials": plan})  # last: where it stands, --resume can go on
    except BaseException:  # such as a full disk
        if not arguments.resume:
            shutil.rmtree(out if is_new else out / TRIALS, ignore_errors=True)
        raise
    results: list[Result] = []
    for number, trial in enumerate(trials, start=1):
        try:
            results.append(_result(trial, out / TRIALS / trial.name, headline))
            log.info(f"Run {number} of {len(trials)}, {trial.name}: {_one_line(results[-1])}")
            _drop_weights(out, results, headline[0])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped in run {number} of {len(trials)}, {trial.name}. Go on with: {resume_command(command, out)}"
            ) from None
        except InputError:
            if not results and not arguments.resume:  # it is about the files or flags of all runs
                shutil.rmtree(out if is_new else out / TRIALS)
            raise
    summaries = summarize(results, headline)
    best = best_result(results, summaries, headline[0])
    if best is not None:
        _keep(out / TRIALS / best.trial.name, out)
    rows = [_row(result) for result in results]
    write_json(
        out / "trials.json",
        {"settings": [asdict(s) for s in summaries], "runs": rows, "best_run": best and best.trial.name},
    )
    write_trials_page(out / "trials.html", summaries, rows, headline)
    return summaries


def summarize(results: Sequence[Result], headline: Sequence[str]) -> list[Summary]:
    """The runs of each setting together, the best mean of the first metric first. Settings without a run come last."""
    by_setting: dict[str, list[Result]] = {}
    for result in results:
        by_setting.setdefault(result.trial.setting, []).append(result)
    summaries = []
    for setting, group in by_setting.items():
        finished = [result.metrics for result in group if result.metrics is not None]
        tested = [metrics["test"] for metrics in finished if "test" in metrics]
        summaries.append(
            Summary(
                setting,
                len(group),
                [result.trial.name for result in group if result.degenerate],
                {name: mean_over_runs([metrics[name] for metrics in finished]) for name in headline if finished},
                {name: mean_over_runs([metrics[name] for metrics in tested]) for name in headline if tested},
            )
        )
    return sorted(summaries, key=lambda summary: -summary.dev[headline[0]].mean if summary.dev else float("inf"))


def best_result(results: Sequence[Result], summaries: Sequence[Summary], metric: str) -> Result | None:
    """The best run of the first setting; None if all runs diverged."""
    candidates = [
        result for result in results if result.metrics is not None and result.trial.setting == summaries[0].setting
    ]
    return max(candidates, key=lambda result: (result.metrics or {})[metric], default=None)


def _rehearse(trials: Sequence[Trial], files: Mapping[str, str]) -> tuple[Sequence[str], dict[str, str]]:
    """The headline metrics, and checksums of the data by flag. Raises `InputError` for what is wrong with any setting.

    The first run of each setting is prepared, up to its first step: after this, an earlier run may be deleted.
    """
    firsts: dict[str, Trial] = {}
    for trial in trials:
        firsts.setdefault(trial.setting, trial)
    headline: Sequence[str] = ()
    data: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            write_text(Path(folder) / name, text)
        for trial in firsts.values():
            arguments = argparse.Namespace(**vars(trial.arguments))
            if files:
                arguments.train, arguments.dev = (
                    str(Path(folder) / Path(path).name) for path in (arguments.train, arguments.dev)
                )
            run = prepare(arguments, Path(folder))
            if not data:  # the same for all settings
                headline, data = run.task.headline, {"train": checksum(files.values() if files else run.train)}
                data |= {split.name: checksum(split.examples) for split in run.splits}
    return headline, data


def _result(trial: Trial, folder: Path, headline: Sequence[str]) -> Result:
    """The result of a run: read if it is there, or else made, from its last checkpoint if there is one."""
    if (folder / METRICS).is_file():
        return Result(trial, parse_json_object((folder / METRICS).read_bytes(), str(folder / METRICS)), headline)
    if (folder / DIVERGED).is_file():
        return Result(trial, None, headline)
    resume = bool(checkpoints(folder / CHECKPOINTS))
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)  # what a kill has left
    arguments = argparse.Namespace(**vars(trial.arguments))
    arguments.out, arguments.resume, arguments.overwrite = str(folder), resume, False
    try:
        return Result(trial, finetune(arguments, summary=False), headline)
    except DivergedError as error:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_json(folder / DIVERGED, {"error": str(error)})
        return Result(trial, None, headline)


def _plan(trial: Trial) -> dict[str, Any]:
    where = WHERE if trial.fold is None else (*WHERE, "train", "dev")  # files in --out, whose contents are compared
    arguments = {name: value for name, value in vars(trial.arguments).items() if name not in where}
    return json.loads(json.dumps({"name": trial.name, "setting": trial.setting, "arguments": arguments}, default=str))


def _drop_weights(out: Path, results: Sequence[Result], metric: str) -> None:
    """Of each setting keep the model of its best run so far: only that can be wanted in the end."""
    for setting in {result.trial.setting for result in results}:
        group = [result for result in results if result.metrics is not None and result.trial.setting == setting]
        group.sort(key=lambda result: -(result.metrics or {})[metric])  # stable: of equals, the first is the best
        for result in group[1:]:
            (out / TRIALS / result.trial.name / WEIGHTS).unlink(missing_ok=True)


def _keep(run: Path, out: Path) -> None:
    """The files of a run, where those of a single run would be. The weights are moved, and last of all."""
    for path in run.iterdir():
        if path.name == ADAPTER:
            shutil.copytree(path, out / ADAPTER, dirs_exist_ok=True)
        elif path.is_file() and path.name != WEIGHTS:
            shutil.copy2(path, out)
    if (run / WEIGHTS).exists():  # else they were moved before a kill
        (run / WEIGHTS).replace(out / WEIGHTS)
    for path in (out / TRIALS).glob(f"*/{WEIGHTS}"):
        path.unlink()


def _row(result: Result) -> dict[str, Any]:
    """A run in `trials.json`."""
    metrics = result.metrics or {}
    arguments = result.trial.arguments
    return {
        "run": result.trial.name,
        "setting": result.trial.setting,
        "seed": arguments.seed,
        "fold": result.trial.fold,
        "dev": {name: metrics.get(name) for name in result.headline},
        "test": {name: metrics["test"][name] for name in result.headline} if "test" in metrics else None,
        "best_epoch": metrics.get("best_epoch"),
        "train_seconds": metrics.get("train_seconds"),
        "degenerate": result.degenerate,
        "diverged": result.metrics is None,
    }


def _one_line(result: Result) -> str:
    if result.metrics is None:
        return "it diverged"
    figures = ", ".join(f"{name} {result.metrics[name]:.4f}" for name in result.headline)
    return f"{figures}{' (it learnt nothing)' if result.degenerate else ''}"
