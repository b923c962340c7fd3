// As program.c, by the C++ headers.
#include <iostream>

#include "fluid.hpp"

int main(int, char **argv)
{
    int tokens = 0;
    try {
        const fluid::engine engine;
        const fluid::model model = engine.load_model(argv[1]);
        model.generate(R"({"prompt": "Hello", "max_tokens": 8})", [&tokens](const fluid::event &event) {
            tokens += event.kind == fluid::event_kind::token;
        });
    } catch (const fluid::error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    std::cout << "libfluid " << fluid::version() << ", " << tokens << " tokens\n";
}
