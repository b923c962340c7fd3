"""tokens.py MODEL COUNT [async]: microseconds for each token of a generation, streamed by `for` or `async for`."""

import asyncio
import sys
import time

import fluid_ai


async def streamed(model, count):
    return sum([len(text) async for text in model.stream("Once", max_tokens=count, ignore_eos=True, temperature=0)])


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    with fluid_ai.Engine() as engine, engine.load_model(path, n_threads=1, n_ctx=4096) as model:
        for _ in range(2):  # the first one warms up
            since = time.perf_counter()
            if len(sys.argv) > 3:
                letters = asyncio.run(streamed(model, count))
            else:
                letters = sum(map(len, model.stream("Once", max_tokens=count, ignore_eos=True, temperature=0)))
            spent = time.perf_counter() - since
    print(f"{spent * 1e6 / count:.2f}")
    return letters == 0


if __name__ == "__main__":
    sys.exit(main())
