#!/usr/bin/env python3
"""Two models at once, with asyncio: one writes while the other listens.

two_models.py MODEL.gguf WHISPER_FOLDER RECORDING
"""

import asyncio
import sys

import fluid_ai


async def write(model: fluid_ai.Model) -> int:
    pieces = 0
    messages = [{"role": "user", "content": "Describe a harbour at dawn."}]
    async for text in model.stream(messages, max_tokens=40):
        print(f"writes: {text!r}", flush=True)
        pieces += 1
    return pieces


async def listen(model: fluid_ai.Model, recording: str) -> str:
    heard = []
    async for segment in model.transcribe_stream(recording):
        print(f"hears:  {segment.text.strip()}", flush=True)
        heard.append(segment.text)
    return "".join(heard).strip()


async def main(llm_path: str, whisper_path: str, recording: str) -> None:
    with fluid_ai.Engine() as engine:
        llm, whisper = await asyncio.gather(engine.load_model_async(llm_path), engine.load_model_async(whisper_path))
        pieces, heard = await asyncio.gather(write(llm), listen(whisper, recording))
    print(f"{pieces} pieces written, {len(heard.split())} words heard")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except fluid_ai.FluidError as error:
        sys.exit(f"{type(error).__name__}: {error}")
