#!/usr/bin/env python3
"""Finds the sentences that mean the same as a question, whatever their words.

embed_and_search.py EMBEDDING_MODEL.gguf ["question"]
"""

import sys

import fluid_ai

SENTENCES = [
    "The library opens at nine and closes at six.",
    "Bread needs flour, water, yeast and salt.",
    "Our cat sleeps in the sun all afternoon.",
    "The train to Hamburg leaves from platform seven.",
    "To reset the router, press the button for ten seconds.",
    "She finished the marathon in under four hours.",
]
QUESTION = "How do I bake a loaf?"


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b))


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    question = sys.argv[2] if len(sys.argv) > 2 else QUESTION
    with fluid_ai.Engine() as engine, engine.load_model(sys.argv[1]) as model:
        vectors = model.embed(SENTENCES)  # once; with numpy: model.embed(SENTENCES).numpy()
        asked = model.embed(question)[0]
    # Vectors have the length 1, so their dot product is their cosine.
    found = sorted(zip((dot(asked, vector) for vector in vectors), SENTENCES), reverse=True)
    print(f"> {question}")
    for score, sentence in found[:3]:
        print(f"{score:.2f}  {sentence}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except fluid_ai.FluidError as error:
        sys.exit(f"{type(error).__name__}: {error}")
