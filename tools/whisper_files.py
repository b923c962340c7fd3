"""The JSON files beside a Whisper's graphs, with the keys of optimum-intel's exports.

Ids of special tokens are read from tokenizer.json: they differ between vocabularies (English only, 99
languages, 100 languages).
"""

import json
import re

from folders import Refused
from whisper_dims import FRAMES

RATE, HOP, WINDOW, SECONDS = 16000, 160, 400, 30
FIRST_MULTILINGUAL_VOCAB = 51865  # English has one token less, and no use for the language tokens it lists
MAX_INITIAL_TIMESTAMP = 50  # of 20 ms: a window's first segment starts within a second
LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")


class BadTokenizer(Refused):
    """tokenizer.json is not Whisper's, or another Whisper's."""


def read_ids(tokenizer):
    """The ids of the special tokens in the text of a tokenizer.json, by content."""
    try:
        added = json.loads(tokenizer)["added_tokens"]
        ids = {str(token["content"]): int(token["id"]) for token in added}
    except (ValueError, KeyError, TypeError) as why:
        raise BadTokenizer(f"it is no tokenizer.json ({type(why).__name__}: {why})") from why
    wanted = ("endoftext", "startoftranscript", "translate", "transcribe", "startofprev", "notimestamps")
    for content in (f"<|{name}|>" for name in wanted):
        if content not in ids:
            raise BadTokenizer(f"it has no {content}")
    return ids


def config(dims, ids):
    start, end = ids["<|startoftranscript|>"], ids["<|endoftext|>"]
    return {
        "activation_function": "gelu",
        "architectures": ["WhisperForConditionalGeneration"],
        "bos_token_id": end,
        "d_model": dims.d_model,
        "decoder_attention_heads": dims.decoder_heads,
        "decoder_ffn_dim": dims.ffn,
        "decoder_layers": dims.decoder_layers,
        "decoder_start_token_id": start,
        "encoder_attention_heads": dims.encoder_heads,
        "encoder_ffn_dim": dims.ffn,
        "encoder_layers": dims.encoder_layers,
        "eos_token_id": end,
        "is_encoder_decoder": True,
        "max_source_positions": dims.source_positions,
        "max_target_positions": dims.target_positions,
        "model_type": "whisper",
        "num_hidden_layers": dims.encoder_layers,
        "num_mel_bins": dims.mels,
        "pad_token_id": end,
        "scale_embedding": False,
        "use_cache": True,
        "vocab_size": dims.vocab,
    }


def generation_config(dims, ids, facts):
    """`facts` may hold `alignment_heads`, `suppress_ids` and `suppress_ids_begin`, as CTranslate2 names them."""
    start, end = ids["<|startoftranscript|>"], ids["<|endoftext|>"]
    multilingual = dims.vocab >= FIRST_MULTILINGUAL_VOCAB
    made = {
        "bos_token_id": end,
        "decoder_start_token_id": start,
        "eos_token_id": end,
        "is_multilingual": multilingual,
        "max_initial_timestamp_index": MAX_INITIAL_TIMESTAMP,
        "max_length": dims.target_positions,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "pad_token_id": end,
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
    }
    names = {
        "alignment_heads": "alignment_heads",
        "suppress_tokens": "suppress_ids",
        "begin_suppress_tokens": "suppress_ids_begin",
    }
    made.update({ours: facts[theirs] for ours, theirs in names.items() if facts.get(theirs)})
    if multilingual:
        first_task = min(ids["<|translate|>"], ids["<|transcribe|>"])
        made["lang_to_id"] = {
            content: number
            for content, number in ids.items()
            if start < number < first_task and LANGUAGE.fullmatch(content)
        }
        made["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return dict(sorted(made.items()))


def preprocessor_config(dims):
    return {
        "chunk_length": SECONDS,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": dims.mels,
        "hop_length": HOP,
        "n_fft": WINDOW,
        "n_samples": SECONDS * RATE,
        "nb_max_frames": FRAMES,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": RATE,
    }


def write(folder, dims, tokenizer, facts):
    """`tokenizer` is the bytes of tokenizer.json, which is copied as it is."""
    ids = read_ids(tokenizer)
    beyond = [content for content, number in ids.items() if number >= dims.vocab]
    if beyond:
        raise BadTokenizer(f"{beyond[0]} has the id {ids[beyond[0]]}, the weights know {dims.vocab} tokens")
    files = {
        "config.json": config(dims, ids),
        "generation_config.json": generation_config(dims, ids, facts),
        "preprocessor_config.json": preprocessor_config(dims),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    (folder / "tokenizer.json").write_bytes(tokenizer)
