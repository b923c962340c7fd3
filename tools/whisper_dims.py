"""The sizes of one Whisper."""

from typing import NamedTuple

FRAMES = 3000  # of log-mel in a window of 30 s


class Dims(NamedTuple):
    """The encoder halves the frames: `source_positions` is 1500 in every known Whisper."""

    mels: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_heads: int
    decoder_heads: int
    ffn: int
    vocab: int
    source_positions: int
    target_positions: int

    @property
    def width(self):
        """Of one of the decoder's heads."""
        return self.d_model // self.decoder_heads
