"""What a run leaves behind: a page with machine, tables and method, a plot for each section, the samples."""

import json

import plot
import rows
import table

METHOD = f"""\
Both sides take turns, either first, in one run. A figure is the median of the rounds; a ratio the median of the
rounds' ratios of libfluid to the peer, in brackets the lowest and the highest.

- **llama-bench** is a process for each round (`-r 1`, its own warm-up before); it neither samples nor gives tokens
  to anybody. libfluid's figures are those of a reader in the same process, sampling and events included.
- **llama-server** runs with `-t THREADS -np SLOTS -c SLOTS*CONTEXT --no-webui` and else as it comes, libfluid with
  the same slots, threads and context of a slot. Requests go over loopback, each on a connection made before, and
  are streamed; one thread reads all of them and parses nothing before the end. That a server sends HTTP to another
  process is part of what is compared.
- Prompts are token ids: words of `benches/speech.txt` in random order, never twice the same. Temperature 0. The
  end-of-answer tokens are banned by a `logit_bias` of -100 on both sides, so that every stream has its length.
  llama-server's `cache_prompt` is off, except where the shared prefix is measured.
- Streams: {rows.STREAM_PROMPT} tokens of prompt and {rows.STREAM_TOKENS} generated, all asked for at once. "All
  together" is the generated tokens over the time from the first request to the last token, prompts included.
- The stall is the longest time between two pieces of a running stream's text while the long prompt waits for its
  first token.
- Prompt lookup: {rows.LOOKED_UP_TOKENS} tokens of a summary and of a corrected copy of {rows.LOOKED_UP_WORDS} words of
  `benches/speech.txt`, with drafts and without, on one model in one process. Both say the same.
- The library alone: the time of {rows.OVERHEAD_STREAMS} streams together over their tokens, with a backend that
  answers at once, from its logits to the event that waits for its reader. That backend has 257 tokens to choose
  from; so the sampler's time over a vocabulary of the model's size, measured by `benches/sampling.rs`, is added.
- Whisper: `benches/whisper.py` against OpenVINO GenAI's pipeline, in one process, on the same model and audio.
"""


def page(found, failures, facts):
    """The Markdown of a run."""
    lines = ["# libfluid beside its peers", "", "Written by `make bench`; absolute speeds are this machine's.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()] + ["", "## Figures", "", table.markdown(found)]
    if failures:
        lines += ["### Not measured", "", *(f"- {name}: {why}" for name, why in failures.items()), ""]
    return "\n".join([*lines, "## How it is measured", "", METHOD])


def write(folder, found, failures, facts):
    """Replaces what an earlier run left in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for section, members in table.sections(found).items():
        (folder / table.file_name(section)).write_text(plot.svg(section, members))
    (folder / "README.md").write_text(page(found, failures, facts))
    samples = {"facts": facts, "rows": [row._asdict() for row in found], "not_measured": failures}
    (folder / "samples.json").write_text(json.dumps(samples, indent=1) + "\n")
