// Compiled without exceptions and RTTI, and linked with units that have them: the forms that return results.

#include <thread>

#include "check.hpp"

#ifndef FLUID_NO_EXCEPTIONS
#error "compile it with -fno-exceptions"
#endif

static constexpr const char *ENDLESS = R"({"prompt":"hello","max_tokens":60000,"seed":1,)" NO_END "}";
static constexpr const char *BRIEF = R"({"prompt":"hello","max_tokens":3,"seed":1,)" NO_END "}";

CASE(results_without_exceptions) {
    fluid::result<fluid::engine> engine = fluid::engine::try_create();
    CHECK(engine);
    const fluid::result<fluid::model> none = engine->try_load_model("missing.gguf");
    CHECK(!none && none.error().status == FLUID_ERROR_NOT_FOUND && !none.error().message.empty());
    const fluid::result<fluid::model> loaded = engine->try_load_model(
        test::files.tiny, fluid::options().set("n_ctx", 65536).set("n_parallel", 1).set("n_threads", 1));
    CHECK(loaded);
    const fluid::model &model = *loaded;

    std::string text;
    const fluid::result<fluid::answer> answer = model.try_generate(BRIEF, [&](std::string_view piece) { text += piece; });
    CHECK(answer && answer->text() == text && answer.value().is_whole);
    int tokens = 0;
    CHECK(!model.try_generate(ENDLESS, [&](std::string_view) { return ++tokens < 3; }).value().is_whole);
    CHECK(model.try_generate("{").error().status == FLUID_ERROR_INVALID_JSON);
    CHECK(model.try_embed("{}").error().status == FLUID_ERROR_UNSUPPORTED || !model.try_embed("{}"));

    // A loop ends where it would throw, and the result tells.
    fluid::result<fluid::text_stream> stream = model.try_stream(fluid::request(ENDLESS).set("deadline_ms", 50));
    CHECK(stream);
    for (const std::string_view piece : *stream) {
        CHECK(!piece.empty());
    }
    CHECK(stream->try_get().error().status == FLUID_DEADLINE);
    fluid::result<fluid::job_of<fluid::answer>> job = model.try_start_generate(ENDLESS);
    std::thread([&] { job->cancel(); }).join();
    fluid_status last = FLUID_OK;
    for (const fluid::event &event : *job) {
        last = event.status;
    }
    CHECK(last == FLUID_CANCELLED && job->try_get().error().status == FLUID_CANCELLED);

    const fluid::result<fluid::queue> queue = fluid::queue::try_create();
    CHECK(queue && queue->handle() != nullptr);
    CHECK(fluid::value(engine->try_info().value())["models"].items().size() == 1);
    CHECK(fluid::try_set_log([](fluid::log_level, std::string_view) {}) && fluid::try_set_log(nullptr));
}
