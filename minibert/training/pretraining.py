"""What `python -m minibert.pretrain --corpus ...` does: from text or a prepared corpus to a folder with a model."""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoints.pretrained import open_checkpoint
from ..config import BertConfig
from ..data.cooccurrence import count_vectors, turned
from ..data.corpus import find_files
from ..data.instances import Block, Instance, InstanceSettings, PretrainingInstances, first_instances
from ..data.prepare import prepare
from ..data.shards import MANIFEST, Corpus, Manifest
from ..data.unigram import token_counts, unigram_entropy
from ..data.vocabulary import learn_tokenizer
from ..errors import InputError
from ..files import new_folder, write_json
from ..heads import BertForMaskedLM, BertForPreTraining
from ..tokenization import BertTokenizer
from .arguments import TrainingArguments
from .bag_of_words import word_weights
from .begun import SETTINGS, checksum, fix_settings
from .distributed import any_rank, lost_contact, process_group, rank, ranks
from .interrupt import stopped
from .measure import peak_memory_mb
from .objective import PretrainingModel
from .pretraining_report import write_pretraining_report
from .pretraining_trainer import Budget, PretrainingTrainer, check_parts
from .state import checkpoints
from .trainer import LOG

log = logging.getLogger("minibert")

CORPUS = "corpus"  # in --out, if the text is prepared there
CHECKPOINTS = "checkpoints"
VOCAB_SIZE = 8000  # of a vocabulary that is learnt from the text
HELD_OUT = 0.01  # of the documents of text
SIZE = "mini"
LAST_STEPS = 100  # whose mean stands for the end of training
MANY_UNKNOWN = 0.1  # of the tokens
MOST_RANDOM = 0.9  # of the pairs; where documents have several sentences, it is a half or a little more

# With other values of these, a run would not be the same one. The learning rate and its warm-up are not among them: a
# run that has diverged may go on with others.
FIXED = (
    "size",
    "embeddings",
    "init_from",
    "batch_size",
    "max_length",
    "masking",
    "masked_lm_prob",
    "no_next_sentence",
    "bag_of_words",
    "optimizer",
    "weight_decay",
    "dropout",
    "seed",
)


def pretrain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one pretraining as the command line describes it, and return the metrics.

    Raises `InputError` for what the user can mend, and `KeyboardInterrupt` with a text that says how to go on.
    """
    out = Path(arguments.out)
    instance_settings = _instance_settings(arguments)
    _check(arguments, out)
    folder = _corpus_folder(arguments, out)
    corpus, tokenizer = Corpus(folder), BertTokenizer.from_pretrained(folder)
    model = _model(arguments, corpus, tokenizer)
    instances = PretrainingInstances(corpus, tokenizer, instance_settings)
    held_out = _held_out(corpus, tokenizer, instance_settings)
    with process_group():
        trainer = PretrainingTrainer(
            model,
            _training_arguments(arguments, out, bool(held_out)),
            instances,
            held_out,
            tokenizer,
            batch_size=arguments.batch_size,
            budget=_budget(arguments),
            word_weights=_word_weights(instances, tokenizer) if arguments.bag_of_words else None,
            optimizer=arguments.optimizer,
            workers=_loading_workers(arguments),
            fsdp=arguments.fsdp,
            compiled=arguments.compile,
        )
        try:
            if rank() == 0:
                log.info(_opening(corpus, trainer))
                for doubt in _doubts(trainer.stream.block(0), tokenizer.unk_token_id):
                    log.warning(doubt)
                fix_settings(out / SETTINGS, _fixed(arguments, model), _contents(arguments, corpus.manifest))
            resumed = bool(checkpoints(out / CHECKPOINTS))
            if rank() == 0 and not resumed:
                (out / LOG).unlink(missing_ok=True)  # of a run that was killed before its first checkpoint
            trainer.train(resume_from_checkpoint=True if resumed else None)
            trainer.save_model(out)
            metrics = _metrics(trainer)
            if rank() == 0:
                write_pretraining_report(out, vars(arguments), metrics, trainer.state.log_history)
            any_rank(False, trainer.model.device)  # the others wait for the first, or none could tell that it died
        except KeyboardInterrupt:
            if rank() > 0:
                raise  # the first process has saved it, and says so
            raise stopped(trainer.state, checkpoints(out / CHECKPOINTS), "pretrain", out) from None
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise InputError(
                    "A process that makes batches was killed, perhaps because memory ran out. Start the same command "
                    "again with --resume, and with fewer --workers if so."
                ) from error
            if not lost_contact(error):
                raise
            raise InputError(
                f"process {rank()} lost the others after step {trainer.state.global_step}: one of them has ended. "
                "Start the same command again with --resume; the number of processes may be another."
            ) from error
    if rank() == 0:
        write_json(out / "metrics.json", metrics)  # the last, for it says that the run is finished
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        print(_summary(out, metrics))
    return metrics


def _instance_settings(arguments: argparse.Namespace) -> InstanceSettings:
    return InstanceSettings(
        max_length=arguments.max_length,
        masking=arguments.masking,
        masked_lm_prob=arguments.masked_lm_prob,
        next_sentence=not arguments.no_next_sentence,
        seed=arguments.seed,
    )


def _check(arguments: argparse.Namespace, out: Path) -> None:
    """Raise `InputError` for flags that do not go together, and if something is in the way."""
    brought = ("size", "vocab", "vocab_size")
    given = [f"--{name.replace('_', '-')}" for name in brought if getattr(arguments, name) is not None]
    given += ["--embeddings random"] if arguments.embeddings == "random" else []
    if arguments.init_from is not None and given:
        raise InputError(f"--init-from brings its own size, vocabulary and weights: leave out {' and '.join(given)}.")
    if arguments.vocab is not None and arguments.vocab_size is not None:
        raise InputError("--vocab-size is of a vocabulary to learn, and --vocab names one: choose one of them.")
    if arguments.fsdp and arguments.compile:
        raise InputError("--compile does not work on a model that --fsdp divides yet: choose one of them.")
    if arguments.fsdp and ranks() == 1:
        raise InputError("--fsdp divides the model among processes: start several with torchrun -m minibert.pretrain.")
    check_parts(arguments.batch_size, arguments.accumulation)
    if arguments.init_from is not None:
        config = open_checkpoint(arguments.init_from).config
    else:
        config = BertConfig.preset(arguments.size or SIZE)
    if arguments.max_length > config.max_position_embeddings:
        raise InputError(
            f"--max-length {arguments.max_length} is more than the {config.max_position_embeddings} positions "
            f"that the model knows: choose a smaller one."
        )
    if rank() > 0:
        return  # the first process may have begun to write
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out must be a folder, or not exist yet.")
    if arguments.resume:
        if not (out / SETTINGS).exists() and not (out / CORPUS).exists():
            raise InputError(f"{out} has no interrupted run to --resume.")
        if (out / "metrics.json").exists():
            raise InputError(f"The run in {out} is finished: there is nothing to --resume.")
    elif out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty. Choose another --out, or --resume an interrupted run in it.")


def _corpus_folder(arguments: argparse.Namespace, out: Path) -> Path:
    """The prepared corpus that is named, or one made out of the text that is named."""
    prepared = [path for path in arguments.corpus if (Path(path) / MANIFEST).exists()]
    if prepared:
        if len(arguments.corpus) > 1:
            raise InputError(
                f"{prepared[0]} is a prepared corpus, and must then be all of --corpus. To train on more, prepare it "
                f"together with the other text."
            )
        if arguments.vocab_size is not None or arguments.held_out is not None:
            raise InputError(
                f"{prepared[0]} is a prepared corpus: its vocabulary and its held-out documents were chosen when it "
                f"was prepared. Leave out --vocab-size and --held-out."
            )
        if arguments.vocab is not None:
            Corpus(prepared[0]).check_tokenizer(BertTokenizer.from_pretrained(arguments.vocab))
        return Path(prepared[0])
    find_files(arguments.corpus, out)
    folder = out / CORPUS
    chosen = {
        "vocab": arguments.vocab,
        "vocab_size": arguments.vocab_size or VOCAB_SIZE,
        "held_out": HELD_OUT if arguments.held_out is None else arguments.held_out,
    }
    if ranks() > 1:
        raise InputError("Several processes need a corpus that is prepared: see python -m minibert.pretrain prepare.")
    if not (folder / MANIFEST).exists():
        known = arguments.vocab or arguments.init_from
        if known is not None:
            tokenizer = BertTokenizer.from_pretrained(known)
        else:
            tokenizer, _ = learn_tokenizer(arguments.corpus, chosen["vocab_size"])
        with new_folder(out):
            prepare(arguments.corpus, tokenizer, folder, workers=os.cpu_count() or 1, held_out=chosen["held_out"])
    # The run itself may not have begun: the corpus may have been refused.
    fix_settings(folder / SETTINGS, chosen, _sizes(arguments.corpus))
    return folder


def _fixed(arguments: argparse.Namespace, model: PretrainingModel) -> dict[str, Any]:
    """What --resume may not change. A default counts as given: the second time, someone may spell it out."""
    settings = {name: getattr(arguments, name) for name in FIXED}
    settings["dropout"] = model.config.hidden_dropout_prob
    settings["embeddings"] = arguments.embeddings or "random"
    settings["size"] = arguments.size or (SIZE if arguments.init_from is None else None)
    return settings


def _model(arguments: argparse.Namespace, corpus: Corpus, tokenizer: BertTokenizer) -> PretrainingModel:
    model_class = BertForMaskedLM if arguments.no_next_sentence else BertForPreTraining
    model: PretrainingModel
    rate = arguments.dropout
    dropout = {} if rate is None else {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}
    torch.manual_seed(arguments.seed)
    if arguments.init_from is not None:
        corpus.check_tokenizer(BertTokenizer.from_pretrained(arguments.init_from))
        model = model_class.from_pretrained(arguments.init_from, **dropout)
        # Of a task that it was fine-tuned for, the head is gone.
        model.config = model.config.replace(task_specific_params=None, problem_type=None)
    else:
        config = BertConfig.preset(
            arguments.size or SIZE, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **dropout
        )
        # BERT's 0.02 suits a width of 768. Sums over fewer come out small: attention then begins as a plain average,
        # and a narrow model stays on the plateau of unigram frequencies (see EXPERIMENTS.md).
        deviation = config.initializer_range * math.sqrt(768 / config.hidden_size)
        model = model_class(config.replace(initializer_range=deviation))
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"{arguments.init_from}: its tokenizer has {len(tokenizer)} tokens, but its model knows "
            f"{model.config.vocab_size}."
        )
    # The first process sends its weights to the others.
    if arguments.embeddings == "counts" and rank() == 0 and not checkpoints(Path(arguments.out) / CHECKPOINTS):
        _embed_by_counts(model, corpus, trained=arguments.init_from is not None)
    return model


def _embed_by_counts(model: PretrainingModel, corpus: Corpus, trained: bool) -> None:
    """Word embeddings that know which tokens stand near each other, each as long as it was."""
    words = model.bert.embeddings.word_embeddings.weight
    vectors = count_vectors(corpus, model.config.hidden_size)
    known = np.flatnonzero(vectors.any(axis=1))  # (vocab, hidden) -> (tokens that were counted)
    counted = _unit(vectors[known])
    before = words.detach().numpy()[known]
    if trained:
        # The blocks know the directions that the embeddings had: keep half of them, and turn the others to fit.
        own = _unit(before)
        counted = _unit(own + turned(counted, own, token_counts(corpus)[known]))
    lengths = np.linalg.norm(before, axis=1, keepdims=True)
    with torch.no_grad():
        words[torch.from_numpy(known)] = torch.from_numpy(lengths * counted)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length; the shape stays."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _word_weights(instances: PretrainingInstances, tokenizer: BertTokenizer) -> Tensor:
    """By the frequencies of a block. All shards of a large corpus are more files than a process may open."""
    return word_weights(token_counts(instances.block(0).corpus), tokenizer.all_special_ids)


def _held_out(corpus: Corpus, tokenizer: BertTokenizer, settings: InstanceSettings) -> list[Instance]:
    """Instances to evaluate by; none if too few documents are held out."""
    documents = sum(shard.documents_of("held_out") for shard in corpus.records)
    if documents < 2:
        log.info(
            f"{documents} documents of {corpus.folder} are held out, too few: there will be no evaluation. A larger "
            "--held-out takes more of them."
        )
        return []
    return first_instances(PretrainingInstances(Corpus(corpus.folder, "held_out"), tokenizer, settings))


def _training_arguments(arguments: argparse.Namespace, out: Path, evaluates: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        per_device_eval_batch_size=64,
        gradient_accumulation_steps=arguments.accumulation,
        learning_rate=arguments.lr,
        weight_decay=arguments.weight_decay,
        warmup_ratio=arguments.warmup_ratio,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=arguments.eval_steps,
        save_strategy="steps",
        save_steps=arguments.save_steps,
        save_total_limit=arguments.keep,
        logging_dir=str(out),
        logging_steps=1,
        seed=arguments.seed,
        gradient_checkpointing=arguments.checkpoint_activations,
        bf16=arguments.bf16,
    )


def _budget(arguments: argparse.Namespace) -> Budget:
    given = Budget(arguments.max_steps, arguments.epochs, arguments.tokens)
    return Budget(epochs=1.0) if given == Budget() else given


def _loading_workers(arguments: argparse.Namespace) -> int:
    """A CPU is busy with the model, and makes batches in next to no time; a GPU must not wait for them."""
    return arguments.workers if arguments.workers is not None else 4 if torch.cuda.is_available() else 0


def _contents(arguments: argparse.Namespace, manifest: Manifest) -> dict[str, Any]:
    """What stands for the corpus, to compare it when a run goes on."""
    if (Path(arguments.corpus[0]) / MANIFEST).exists():
        return {"corpus": checksum(shard.sha256 for shard in manifest.shards)}
    return _sizes(arguments.corpus)


def _sizes(paths: Sequence[str]) -> dict[str, Any]:
    """What stands for text: it is not read again when a run goes on."""
    return {"corpus": [file.stat().st_size for file in find_files(paths)]}


def _opening(corpus: Corpus, trainer: PretrainingTrainer) -> str:
    return (
        f"{corpus.tokens:,} tokens in {len(corpus):,} documents; "
        f"{trainer.model.num_parameters() / 1e6:.1f} million parameters on {trainer.model.device}."
    )


def _doubts(block: Block, unknown: int) -> Iterator[str]:
    """Why little may be learnt from this text, though losses fall. A block of random shards tells it."""
    counts = token_counts(block.corpus)
    if (share := counts[unknown] / counts.sum()) > MANY_UNKNOWN:
        yield (
            f"{share:.0%} of the tokens are [UNK], from which nothing is learnt: the vocabulary lacks the letters of "
            "this text, or it has no spaces between its words."
        )
    if block.instances.settings.next_sentence and (share := (block.plan["wanted"] > 0).mean()) > MOST_RANDOM:
        yield (
            f"{share:.0%} of the pairs are random, since most documents are a single sentence: there is little to "
            "learn from next sentences. Give longer documents, or leave them out (--no-next-sentence)."
        )


def _metrics(trainer: PretrainingTrainer) -> dict[str, Any]:
    state = trainer.state
    steps = [entry for entry in state.log_history if "lr" in entry]
    names = [name for name in ("loss", "mlm_loss", "mlm_accuracy", "nsp_accuracy", "bag_loss") if name in steps[-1]]
    metrics: dict[str, Any] = {
        "task": "pretraining",
        "training": {name: float(np.mean([entry[name] for entry in steps[-LAST_STEPS:]])) for name in names},
        # A block of random shards tells it, as it tells `_word_weights`.
        "unigram_entropy": unigram_entropy(trainer.stream.block(0).corpus),
        "vocab_size": trainer.stream.instances.corpus.manifest.vocab_size,
        "parameters": trainer.model.num_parameters(),
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": state.total_tokens,
        "train_seconds": state.train_seconds,
        "tokens_per_second": state.total_tokens / state.train_seconds,
        "peak_memory_mb": peak_memory_mb(),
    }
    if trainer.held_out:
        last = state.log_history[-1].items()
        metrics["held_out"] = {name.removeprefix("eval_"): value for name, value in last if name.startswith("eval_")}
    return metrics


def _summary(out: Path, metrics: dict[str, Any]) -> str:
    figures = metrics.get("held_out", metrics["training"])
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    return (
        f"{'held-out' if 'held_out' in metrics else 'training'}: {numbers}; unigram entropy "
        f"{metrics['unigram_entropy']:.4f}.\nThe model and report.html are in {out}."
    )
