#!/usr/bin/env python3
"""Prints what is said in a recording, segment by segment, as it is heard.

transcribe.py WHISPER_FOLDER RECORDING
"""

import sys

import fluid_ai


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    _, folder, recording = sys.argv
    with fluid_ai.Engine() as engine, engine.load_model(folder) as model:
        stream = model.transcribe_stream(recording)
        for segment in stream:
            print(f"[{segment.start:7.2f} - {segment.end:7.2f}] {segment.text.strip()}", flush=True)
        transcript = stream.result()
    print(f"({transcript.language}, {transcript.duration:.0f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except fluid_ai.FluidError as error:
        sys.exit(f"{type(error).__name__}: {error}")
