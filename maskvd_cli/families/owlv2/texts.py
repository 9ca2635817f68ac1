"""Embeddings of texts that stand for classes, by the text model of a folder of the hub.

The text model is that of `transformers` (extra `hf`), with the tensors and the tokenizer's files of
the folder. It runs once; nothing of it is kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.extras import imported
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.vitdet.renaming import CheckpointError

TOKENIZER = (
    "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
PROMPT = "a photo of a {}"
_MODELING = "transformers.models.owlv2"
_TEXTS, _PROJECTION = "owlv2.text_model.", "owlv2.text_projection.weight"
_UNUSED = f"{_TEXTS}embeddings.position_ids"
_HEADS = 8


def can_read_texts(file: WeightsFile) -> bool:
    """Tell whether a file is a folder with a tokenizer beside the tensors."""
    return all((file.path / name).is_file() for name in TOKENIZER[:2])


@torch.inference_mode()
def queries_of(classes: Sequence[str], file: WeightsFile) -> Tensor:
    """Return an embedding (classes, D) of each class's text, on the CPU in float32.

    Raises CheckpointError for tensors or a tokenizer that cannot be used, UsageError where
    transformers is missing.
    """
    imported("transformers", "reading texts needs transformers", "hf")
    with torch.random.fork_rng(devices=[]):
        model = _text_model(file)
    tokens = _tokenized([PROMPT.format(name.replace("_", " ")) for name in classes], file.path)
    projection = file.tensors[_PROJECTION].float()
    made: list[Tensor] = []
    for row in tokens:
        ids = torch.tensor([row[: model.config.max_position_embeddings]])
        if int(ids.max()) >= model.config.vocab_size:
            raise _unusable(file.path, "its tokenizer has more words than its text model")
        made.append(model(input_ids=ids).pooler_output @ projection.T)
    return torch.cat(made)


def _text_model(file: WeightsFile) -> Any:
    """Return the text model, its sizes those of the tensors, its heads as the config says."""
    tensors = {
        name: tensor.float()
        for name, tensor in file.tensors.items()
        if name.startswith(_TEXTS) and name != _UNUSED
    }
    try:
        words = tensors[f"{_TEXTS}embeddings.token_embedding.weight"]
        places = tensors[f"{_TEXTS}embeddings.position_embedding.weight"]
        hidden = tensors[f"{_TEXTS}encoder.layers.0.mlp.fc1.bias"]
        projected = file.tensors[_PROJECTION]
    except KeyError as error:
        raise _unusable(file.path, f"its text model lacks {error.args[0]}") from error
    said: Any = file.config.get("text_config")
    heads: Any = said.get("num_attention_heads", _HEADS) if isinstance(said, dict) else _HEADS
    dim = words.shape[-1]
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or dim % heads:
        raise _unusable(file.path, f"text_config.num_attention_heads is {heads!r} of {dim}")
    if projected.ndim != 2 or projected.shape[1] != dim:
        raise _unusable(file.path, f"{_PROJECTION} does not take embeddings of {dim}")
    settings = importlib.import_module(f"{_MODELING}.configuration_owlv2").Owlv2TextConfig(
        vocab_size=len(words),
        hidden_size=dim,
        intermediate_size=len(hidden),
        num_hidden_layers=sum(name.endswith(".mlp.fc1.bias") for name in tensors),
        num_attention_heads=heads,
        max_position_embeddings=len(places),
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    modeling = importlib.import_module(f"{_MODELING}.modeling_owlv2")
    model = modeling.Owlv2TextModel(settings)
    # In the library's own text model, names begin below `owlv2`.
    load_into(model, {name.partition(".")[2]: tensors[name] for name in tensors}, file.path)
    return model.eval()


def _tokenized(texts: Sequence[str], folder: Path) -> list[list[int]]:
    tokenization = importlib.import_module("transformers.models.clip.tokenization_clip")
    try:
        made = tokenization.CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        return [list(made(text)["input_ids"]) for text in texts]
    except Exception as error:  # of the library, its parser in Rust and the system
        reason = " ".join(str(error).split())[:120]
        raise _unusable(folder, f"its tokenizer cannot be used ({reason})") from error


def _unusable(where: object, problem: str) -> CheckpointError:
    return CheckpointError(
        problem, where=where, remedy="fetch the folder again, or add queries.safetensors to it"
    )
