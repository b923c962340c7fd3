#!/usr/bin/env python3
"""Streams a chat answer to the terminal. Ctrl-C ends the answer.

chat.py MODEL.gguf ["question"]
"""

import sys

import fluid_ai

QUESTION = "Why is the sky blue? Answer in two sentences."


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    question = sys.argv[2] if len(sys.argv) > 2 else QUESTION
    messages = [{"role": "user", "content": question}]
    with fluid_ai.Engine() as engine, engine.load_model(sys.argv[1]) as model:
        print(f"> {question}")
        stream = model.stream(messages, max_tokens=256, temperature=0.2)
        try:
            for text in stream:
                print(text, end="", flush=True)
        except KeyboardInterrupt:
            print("\n(interrupted)")
            return 130
        print(f"\n[{stream.result().usage['completion_tokens']} tokens]", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except fluid_ai.FluidError as error:
        sys.exit(f"{type(error).__name__}: {error}")
