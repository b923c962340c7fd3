"""When the tokens of a stream came, whoever made them: the same figures for libfluid and for its peers."""

import statistics
from typing import NamedTuple


class Stream(NamedTuple):
    """One answer as its reader saw it; times in seconds of one monotonic clock."""

    start: float  # when it was asked for
    times: list  # when each piece of text came
    tokens: int  # how many were generated
    cached: int  # tokens of the prompt that were not computed again
    predicted: float  # seconds from the first token to the last, by the side's own clock

    @property
    def first(self):
        """Time to first token."""
        return self.times[0] - self.start


def tokens_per_second(streams):
    """Of all streams together, from the first request to the last token: prompts included."""
    start = min(stream.start for stream in streams)
    end = max(stream.times[-1] for stream in streams)
    return sum(stream.tokens for stream in streams) / (end - start)


def mean_first(streams):
    return statistics.fmean(stream.first for stream in streams)


def worst_first(streams):
    return max(stream.first for stream in streams)


def longest_gap(stream, since, until):
    """The longest wait for a piece of text that overlaps the time from `since` to `until`."""
    pairs = zip(stream.times, stream.times[1:])
    return max((b - a for a, b in pairs if b > since and a < until), default=0.0)
