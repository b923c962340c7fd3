"""The parts of benches/ that need no model: tables, plots, what the peers say."""

import json
import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "benches"))

import libfluid
import llama_server
import plot
import rows
import table
import timeline


def row(ours, theirs, higher_is_better=True, aim=(), unit="s"):
    return rows.Row("A part, 1,000", "a figure", unit, "peer" if theirs else "", ours, theirs, higher_is_better, aim)


class Table(unittest.TestCase):
    def test_numbers_keep_three_digits(self):
        shown = [table.number(value) for value in (12_345.6, 999.4, 100, 42.25, 1.5, 0.0123, 0)]
        self.assertEqual(shown, ["12,346", "999", "100", "42.2", "1.50", "0.012", "0"])

    def test_a_ratio_is_the_median_of_the_rounds_not_of_the_sides(self):
        drifting = row([1, 10, 100], [1, 20, 50])
        self.assertEqual(table.ratio(drifting), 1)
        self.assertEqual(table.ratio_cell(drifting), "1.00 (0.50 to 2.00)")

    def test_a_peer_of_zero_has_no_ratio(self):
        self.assertIsNone(table.ratio(row([1.0], [0.0])))
        self.assertEqual(table.ratio_cell(row([1.0], [0.0])), "")

    def test_aims_hold_at_their_limit_and_miss_beyond(self):
        self.assertTrue(table.is_met(row([98], [100], aim=("ratio", ">=", 0.98))))
        self.assertFalse(table.is_met(row([97], [100], aim=("ratio", ">=", 0.98))))
        self.assertTrue(table.is_met(row([9], [10], aim=("ratio", "<=", 0.9))))
        self.assertFalse(table.is_met(row([21], [], aim=("libfluid", "<=", 20))))
        self.assertIsNone(table.is_met(row([1], [1])))

    def test_an_aim_at_a_ratio_that_is_none_is_missed(self):
        self.assertFalse(table.is_met(row([1], [0], aim=("ratio", "<=", 0.9))))

    def test_markdown_has_a_line_for_each_row_and_its_plot(self):
        text = table.markdown([row([0.25], [0.5], False, ("ratio", "<=", 0.9))])
        self.assertIn("| a figure (less is better) | 0.250 s | 0.500 s | 0.50 | ratio at most 0.9: met |", text)
        self.assertIn("![A part, 1,000](a-part-1000.svg)", text)


class Plot(unittest.TestCase):
    def bars(self, shown):
        root = xml.fromstring(plot.svg("Under <test>", shown))
        shapes = root.iter("{http://www.w3.org/2000/svg}rect")
        return [float(shape.get("width")) for shape in shapes if shape.get("height") == str(plot.BAR)]

    def test_bars_are_as_long_as_their_values(self):
        ours, theirs = self.bars([row([2], [1])])
        self.assertAlmostEqual(ours / theirs, 2, places=2)

    def test_each_unit_has_its_own_scale_and_a_lone_side_one_bar(self):
        seconds, _, half, tokens = self.bars([row([10], [10]), row([5], []), row([1_000], [], unit="tokens")])
        self.assertAlmostEqual(half, seconds / 2, places=1)
        self.assertEqual(tokens, seconds)

    def test_zeros_are_drawn_too(self):
        self.assertEqual(self.bars([row([0], [0])]), [1, 1])


class LlamaBench(unittest.TestCase):
    def test_speeds_are_found_whatever_their_order(self):
        said = json.dumps(
            [{"n_prompt": 0, "n_gen": 128, "avg_ts": 100.5}, {"n_prompt": 512, "n_gen": 0, "avg_ts": 300}]
        )
        self.assertEqual(rows.parse_llama_bench(said), (300, 100.5))

    def test_other_words_are_refused(self):
        for said in ("", "[]", "{}", '[{"n_prompt": 512, "n_gen": 0}]', "error: no model"):
            with self.assertRaises(libfluid.Failed):
                rows.parse_llama_bench(said)


class Streams(unittest.TestCase):
    def stream(self, start, times):
        return timeline.Stream(start, times, len(times), 0, 0)

    def test_speed_counts_from_the_first_request_to_the_last_token(self):
        streams = [self.stream(10, [11, 12]), self.stream(10.5, [12.5, 14])]
        self.assertEqual(timeline.tokens_per_second(streams), 1)
        self.assertEqual((timeline.mean_first(streams), timeline.worst_first(streams)), (1.5, 2))

    def test_a_gap_counts_where_it_overlaps_the_time_asked_about(self):
        running = self.stream(0, [1, 5, 6, 9, 15])
        self.assertEqual(timeline.longest_gap(running, 4, 9), 4)
        self.assertEqual(timeline.longest_gap(running, 5, 9), 3)
        self.assertEqual(timeline.longest_gap(running, 5, 10), 6)

    def test_a_stream_that_ended_early_is_refused(self):
        with self.assertRaises(libfluid.Failed):
            rows.whole([self.stream(0, [1, 2])], [3])


class Http(unittest.TestCase):
    def answer(self, body, pieces, status="200 OK"):
        """What is read of an answer that comes in such pieces."""
        answer = llama_server.Answer.__new__(llama_server.Answer)
        answer.received, answer.times, answer.start = bytearray(), [], 0.0
        whole = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body
        answer.socket = Pieces([whole[i : i + pieces] for i in range(0, len(whole), pieces)])
        while answer.read():
            pass
        return answer

    def test_each_event_has_its_time_however_the_bytes_are_cut(self):
        events = [{"content": "a", "tokens": [5]}, {"content": "", "tokens": [6]}]
        end = {"content": "", "tokens": [], "stop": True, "tokens_predicted": 2}
        end["timings"] = {"cache_n": 7, "predicted_ms": 250}
        body = b""
        for event in [*events, end]:
            text = b"data: " + json.dumps(event).encode() + b"\n\n"
            body += f"{len(text):x}\r\n".encode() + text + b"\r\n"
        for pieces in (1, 2, 3, 50, 10_000):
            stream = self.answer(body + b"0\r\n\r\n", pieces).stream()
            self.assertEqual((len(stream.times), stream.tokens, stream.cached, stream.predicted), (2, 2, 7, 0.25))

    def test_an_answer_that_breaks_off_or_is_an_error_is_refused(self):
        with self.assertRaises(libfluid.Failed):
            self.answer(b"", 100).stream()
        with self.assertRaises(libfluid.Failed):
            self.answer(b"5\r\nno ho\r\n0\r\n\r\n", 100, "500 Internal Server Error").body()


class Pieces:
    """A socket that gives what it was told to."""

    def __init__(self, pieces):
        self.pieces = pieces

    def recv(self, _):
        return self.pieces.pop(0) if self.pieces else b""

    def close(self):
        pass


if __name__ == "__main__":
    unittest.main()
