"""What `transformers`' TrainingArguments and Trainer take besides, for `foreign`: the values that ask for what is done
here anyway, and what to do instead of others."""

from __future__ import annotations

from typing import Any

from ..foreign import ANYTHING

TRAINING_ARGUMENTS: dict[str, tuple[tuple[Any, ...], str]] = {
    # what scripts read, not the Trainer
    "do_train": ((ANYTHING,), ""),
    "do_eval": ((ANYTHING,), ""),
    "do_predict": ((ANYTHING,), ""),
    "overwrite_output_dir": ((ANYTHING,), ""),
    "run_name": ((ANYTHING,), ""),
    # how fast batches come, not what is in them
    "dataloader_num_workers": ((ANYTHING,), ""),
    "dataloader_pin_memory": ((ANYTHING,), ""),
    "eval_accumulation_steps": ((ANYTHING,), ""),
    "save_safetensors": ((True,), "weights are always written so"),
    "group_by_length": ((True,), "sentences of like length always share a batch"),
    "length_column_name": ((ANYTHING,), ""),
    "remove_unused_columns": ((True,), "what the model does not take, as its forward says, never reaches a batch"),
    "label_names": (
        (None, ["labels"], ["start_positions", "end_positions"]),
        "labels are labels, next_sentence_label, start_positions and end_positions",
    ),
    "dataloader_drop_last": ((False,), "the last batch is learnt, too"),
    "data_seed": ((None,), "seed decides the order of the data"),
    "full_determinism": ((False,), "call torch.use_deterministic_algorithms(True)"),
    "fp16": ((False,), "bf16=True is the other half precision, and needs no loss scaling"),
    "fp16_full_eval": ((False,), "bf16=True evaluates in bfloat16, too"),
    "bf16_full_eval": ((False,), "bf16=True evaluates in bfloat16, too"),
    "optim": (("adamw_torch", "adamw_torch_fused"), "AdamW is the optimizer, 'adamw_torch'"),
    "adafactor": ((False,), "AdamW is the optimizer"),
    "gradient_checkpointing_kwargs": ((None, {"use_reentrant": False}), "it is never reentrant"),
    "torch_compile": ((False,), "call torch.compile on the blocks, as minibert.training.compilation does"),
    "auto_find_batch_size": ((False,), "choose per_device_train_batch_size"),
    "no_cuda": ((False,), "set the environment variable CUDA_VISIBLE_DEVICES to nothing"),
    "use_cpu": ((False,), "set the environment variable CUDA_VISIBLE_DEVICES to nothing"),
    "local_rank": ((-1, 0), "python -m minibert.pretrain trains on several GPUs, through torchrun"),
    "logging_first_step": ((False,), "logging_steps=1 logs every step"),
    "save_only_model": ((False,), "checkpoints are to go on from; save_model saves the model alone"),
    "include_inputs_for_metrics": ((False,), "compute_metrics gets predictions and label_ids"),
    "prediction_loss_only": ((False,), "leave compute_metrics out, and read eval_loss"),
    "push_to_hub": ((False,), "upload the folder with huggingface_hub"),
}

OLD_TRAINING_ARGUMENTS = {
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
}

TRAINER: dict[str, tuple[tuple[Any, ...], str]] = {
    "optimizers": (
        ((None, None),),
        "AdamW is set by TrainingArguments; for another optimizer write the loop yourself",
    ),
    "model_init": ((None,), "call it, and pass what it makes as model"),
}

OLD_TRAINER = {"tokenizer": "processing_class"}
