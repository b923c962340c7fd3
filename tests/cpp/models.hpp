// The models of the tests, each loaded once, when it is first asked for.
#ifndef MODELS_HPP
#define MODELS_HPP

#include "check.hpp"

namespace test {

// Left behind on purpose: the program ends with models loaded.
inline fluid::engine &the_engine() {
    static fluid::engine *const engine = new fluid::engine;
    return *engine;
}
inline fluid::model &smol() {
    static fluid::model *const model =
        new fluid::model(the_engine().load_model(files.smol, fluid::options().set("n_ctx", 1024)));
    return *model;
}
inline fluid::model &whisper() {
    static fluid::model *const model = new fluid::model(the_engine().load_model(files.whisper));
    return *model;
}

// A random model that loads in milliseconds, and with `endless` never comes to an end.
inline fluid::model tiny(const fluid::engine &engine, int parallel = 2) {
    return engine.load_model(
        files.tiny, fluid::options().set("n_ctx", 65536).set("n_parallel", parallel).set("n_threads", 1));
}
inline fluid::request endless() {
    return fluid::request(R"({"prompt":"hello","max_tokens":60000,"seed":1,)" NO_END "}");
}
inline fluid::request brief() { return fluid::request(R"({"prompt":"hello","max_tokens":3,"seed":1,)" NO_END "}"); }

} // namespace test

#endif // MODELS_HPP
