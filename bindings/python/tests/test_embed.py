"""Vectors and rankings."""

import unittest

import numpy
from support import RERANKER, QuietTest, embedding_model, engine, fluid_ai

TEXTS = ["A cat sits on the mat.", "A kitten rests on the rug.", "Interest rates rose again."]


class Embeddings(QuietTest):
    def test_like_texts_have_like_vectors(self):
        vectors = embedding_model().embed(TEXTS)
        self.assertEqual((len(vectors), vectors.dimensions, len(vectors[0])), (3, 384, 384))
        cosines = vectors.numpy() @ vectors.numpy().T
        numpy.testing.assert_allclose(cosines.diagonal(), 1, atol=1e-5)
        self.assertGreater(cosines[0, 1], cosines[0, 2] + 0.2)
        self.assertGreater(vectors.info["usage"]["prompt_tokens"], 10)

    def test_they_are_a_sequence_and_an_array_of_numpys(self):
        vectors = embedding_model().embed(TEXTS)
        self.assertEqual(list(vectors)[2], vectors[-1])
        self.assertEqual(vectors[:2], [vectors[0], vectors[1]])
        with self.assertRaises(IndexError):
            vectors[3]
        self.assertEqual(numpy.asarray(vectors).dtype, numpy.float32)
        self.assertEqual(numpy.array(vectors, dtype=numpy.float64).shape, (3, 384))

    def test_one_text_a_request_and_fields(self):
        one = embedding_model().embed(TEXTS[0])
        self.assertEqual(len(one), 1)
        numpy.testing.assert_allclose(one[0], embedding_model().embed({"input": TEXTS[0]})[0], atol=1e-6)
        numpy.testing.assert_allclose(one[0], embedding_model().embed(input=TEXTS[0])[0], atol=1e-6)
        self.assertEqual(embedding_model().embed(TEXTS, dimensions=64).dimensions, 64)

    def test_a_text_that_is_too_long_is_named_or_cut(self):
        long = [TEXTS[0], "word " * 3000]
        with self.assertRaisesRegex(fluid_ai.InvalidRequestError, r"input\[1\]"):
            embedding_model().embed(long)
        self.assertEqual(embedding_model().embed(long, truncate=True).info["truncated"], [1])

    def test_stopping_gives_the_first_vectors(self):
        with self.assertRaises(fluid_ai.JobCancelledError) as caught:
            embedding_model().embed(TEXTS * 200, on_event=lambda event: False)
        self.assertLess(len(caught.exception.result), 600)
        self.assertEqual(len(caught.exception.result.data), len(caught.exception.result) * 384)


class Rankings(QuietTest):
    def test_documents_come_best_first(self):
        with engine().load_model(RERANKER) as model:
            ranking = model.rerank("cats", TEXTS, top_n=2)
        self.assertEqual(len(ranking.results), 2)
        scores = [result["relevance_score"] for result in ranking.results]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertLess({result["index"] for result in ranking.results}, {0, 1, 2})


if __name__ == "__main__":
    unittest.main()
