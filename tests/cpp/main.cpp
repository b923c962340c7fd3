// Runs the cases that were entered, or the one that is named; the process is then as that case left it.
//
//     test_cpp SMOLLM2 TINY WHISPER JFK EMBEDDER RERANKER [CASE]

#include <chrono>
#include <cstring>
#include <exception>

#include "check.hpp"

static void run(const test::entry &entry) {
    const auto since = std::chrono::steady_clock::now();
#ifdef FLUID_NO_EXCEPTIONS
    entry.body();
#else
    try {
        entry.body();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s threw %s\n", entry.name, error.what());
        std::_Exit(1);
    }
#endif
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - since;
    std::printf("ok %s (%.1f s)\n", entry.name, seconds.count());
    std::fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        std::fprintf(stderr, "usage: %s SMOLLM2 TINY WHISPER JFK EMBEDDER RERANKER [CASE]\n", argv[0]);
        return 2;
    }
    test::files = {argv[1], argv[2], argv[3], argv[4], argv[5], argv[6]};
    bool found = false;
    for (const test::entry &entry : test::entries()) {
        // Those that leave the process are asked for by name.
        const bool is_last = std::strncmp(entry.name, "exit_", 5) == 0;
        if (argc > 7 ? std::strcmp(entry.name, argv[7]) == 0 : !is_last) {
            found = true;
            run(entry);
        }
    }
    return found ? 0 : 2;
}
