// tokens MODEL COUNT: microseconds for each token of a generation, streamed as a range.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "fluid.hpp"

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    const fluid::engine engine;
    const fluid::model model = engine.load_model(argv[1], fluid::options().set("n_threads", 1).set("n_ctx", 4096));
    const int count = std::atoi(argv[2]);
    std::size_t letters = 0;
    std::chrono::duration<double, std::micro> spent{};
    for (int round = 0; round < 2; round++) { // the first one warms up
        const auto since = std::chrono::steady_clock::now();
        for (const std::string_view text : model.stream(fluid::request()
                                                            .prompt("Once")
                                                            .set("max_tokens", count)
                                                            .set("ignore_eos", true)
                                                            .set("temperature", 0))) {
            letters += text.size();
        }
        spent = std::chrono::steady_clock::now() - since;
    }
    std::printf("%.2f\n", spent.count() / count);
    return letters == 0;
}
