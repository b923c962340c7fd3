#!/usr/bin/env python3
"""Speaks benches/speech.txt with espeak-ng, over and over, for --speech of benches/whisper.py.

    benches/speech.py FILE.wav FILE.txt [--minutes 5.3]

The paragraphs come at 150 to 165 words a minute, with pauses of 0.8 to 2.9 seconds between them;
the WAV file has 16 kHz, the text file what is said in it.
"""

import argparse
import array
import subprocess
import tempfile
import wave
from pathlib import Path

RATE = 16_000


def spoken(text, speed):
    """`text` as 16 kHz samples, resampled linearly: that is good enough for this voice."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", str(speed), "-w", file.name, text], check=True)
        with wave.open(file.name) as sound:
            step, samples = sound.getframerate() / RATE, array.array("h", sound.readframes(sound.getnframes()))
    samples.append(samples[-1])
    out = array.array("h")
    for index in range(int((len(samples) - 1) / step)):
        place = int(index * step)
        part = index * step - place
        out.append(int(samples[place] * (1 - part) + samples[place + 1] * part))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sound")
    parser.add_argument("text")
    parser.add_argument("--minutes", type=float, default=5.3)
    arguments = parser.parse_args()
    paragraphs = (Path(__file__).parent / "speech.txt").read_text().split("\n")
    samples, said = array.array("h"), []
    for round in range(1000):
        for paragraph in filter(None, paragraphs):
            samples.extend(spoken(paragraph, 150 + 5 * (round % 4)))
            samples.extend(array.array("h", bytes(2 * int(RATE * (0.8 + 0.7 * (len(said) % 4))))))
            said.append(paragraph)
        if len(samples) > arguments.minutes * 60 * RATE:
            break
    with wave.open(arguments.sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    Path(arguments.text).write_text("\n".join(said) + "\n")
    print(f"{arguments.sound}: {len(samples) / RATE:.0f} s")


if __name__ == "__main__":
    main()
