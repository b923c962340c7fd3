"""Writes tests/data/log_mel.json: what transformers' WhisperFeatureExtractor makes of known sounds.

Needs numpy and transformers alone (made with transformers 5.23.0, numpy 2.4.6):

    python tools/expected_log_mel.py models/jfk.wav > tests/data/log_mel.json

With --all FILE it also writes every value of the speech, raw float32, 80 and then 128 bands.
"""

import json
import sys
import wave

import numpy as np
from transformers import WhisperFeatureExtractor

RATE = 16000


def read_wav(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def chirp(seconds):
    """From 50 Hz, 1500 Hz up every second; the Rust test computes the same."""
    t = np.arange(seconds * RATE, dtype=np.float64) / RATE
    return (0.4 * np.sin(2 * np.pi * (50 * t + 750 * t * t))).astype(np.float32)


def log_mel(samples, bands):
    extractor = WhisperFeatureExtractor(feature_size=bands)
    mel = extractor(samples, sampling_rate=RATE, return_tensors="np").input_features[0]
    assert mel.shape == (bands, 3000)
    return mel


def summary(mel):
    """Sums over everything, the extremes, and single values spread over all bands and frames."""
    bands, frames = mel.shape
    spots = {(int(i) // frames, int(i) % frames) for i in (mel.argmax(), mel.argmin())}
    for n in range(300):
        spots.add((n * 7 % bands, n * 13 % 1120))
    for band in range(0, bands, 9):
        spots.update((band, frame) for frame in (0, 1, 2, 499, 500, 501, 1099, 1100, 1101, 2998, 2999))
    return {
        "bands": bands,
        "mean": float(mel.mean(dtype=np.float64)),
        "mean_of_magnitudes": float(np.abs(mel).mean(dtype=np.float64)),
        "max": float(mel.max()),
        "min": float(mel.min()),
        "spots": [[b, f, round(float(mel[b, f]), 6)] for b, f in sorted(spots)],
    }


def main():
    speech = read_wav(sys.argv[1])
    # A chirp as long as the window reaches its mirrored end.
    sounds = {"jfk": speech, "chirp_5": chirp(5), "chirp_30": chirp(30)}
    out = {name: [summary(log_mel(sound, bands)) for bands in (80, 128)] for name, sound in sounds.items()}
    if "--all" in sys.argv:
        with open(sys.argv[sys.argv.index("--all") + 1], "wb") as file:
            for bands in (80, 128):
                file.write(log_mel(speech, bands).astype("<f4").tobytes())
    lines = []
    for name, cases in out.items():
        lines.append(json.dumps(name) + ": [\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")
    print("{\n" + ",\n".join(lines) + "\n}")


main()
