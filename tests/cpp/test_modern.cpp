// What C++20 and C++23 add: stop tokens, spans, ranges, std::expected, generators.

#include <chrono>
#include <ranges>
#include <span>
#include <string>
#include <thread>

#include "models.hpp"

#ifdef __cpp_lib_expected
#include <expected>
#endif

using namespace std::chrono_literals;
using test::brief;
using test::endless;

static_assert(std::ranges::input_range<fluid::text_stream> && std::ranges::input_range<fluid::job>);
static_assert(std::ranges::contiguous_range<fluid::floats>);

#ifdef __cpp_lib_jthread
CASE(a_stop_token_cancels) {
    const fluid::model model = test::tiny(test::the_engine(), 1);
    std::stop_source source;
    const fluid::result<fluid::answer> result = model.try_generate(
        endless(), [&](std::string_view) { source.request_stop(); }, source.get_token());
    CHECK(!result && result.error().status == FLUID_CANCELLED);
    CHECK(!fluid::value(result.error().partial)["choices"][0]["text"].text().empty());
    // While a job waits for its slot no callback is called; a token works then too.
    fluid::job_of<fluid::answer> first = model.start_generate(endless());
    std::jthread asks([](std::stop_token stop, const fluid::model *other) {
        THROWS(other->generate(endless(), {}, stop), fluid::cancelled, FLUID_CANCELLED, "");
    }, &model);
    std::this_thread::sleep_for(20ms);
    asks.request_stop();
    asks.join();
    // Before, and after.
    THROWS(model.generate(brief(), fluid::no_callback(), source.get_token()), fluid::cancelled, FLUID_CANCELLED, "");
    first.close();
    std::stop_source late;
    CHECK(model.generate(brief(), fluid::no_callback(), late.get_token()).is_whole);
    late.request_stop();
}
#endif

CASE(streams_are_ranges) {
    const std::string whole = test::smol().generate(fluid::request(brief()).set("temperature", 0)).text();
    std::string text;
    for (const std::string_view piece : test::smol().stream(fluid::request(brief()).set("temperature", 0)) |
                                            std::views::filter([](std::string_view each) { return !each.empty(); })) {
        text += piece;
    }
    CHECK(text == whole && !text.empty());
    std::size_t pieces = 0;
    for (const std::string_view piece : test::smol().stream(endless()) | std::views::take(3)) {
        pieces += !piece.empty();
    }
    CHECK(pieces == 3);
}

CASE(spans_are_taken_and_given) {
    const std::vector<float> silence(16000);
    CHECK(test::whisper().transcribe(fluid::audio::pcm(std::span(silence), 16000)).text().size() < 100);
    const std::vector<std::byte> bytes(100);
    THROWS(test::whisper().transcribe(fluid::audio::encoded(std::span(bytes))), fluid::invalid_file,
           FLUID_ERROR_INVALID_AUDIO, "");
    const fluid::embeddings vectors =
        test::the_engine().load_model(test::files.embedder).embed(fluid::request().set("input", "a"));
    const std::span<const float> vector = vectors[0];
    CHECK(vector.size() == vectors.dimensions && vector.data() == vectors.values.data());
    CHECK(test::the_engine().load_model(std::u8string(test::files.tiny.begin(), test::files.tiny.end())).handle());
}

CASE(utf_8_has_a_type) {
    const std::u8string text = u8"\u00fc";
    CHECK(fluid::request().user(text).set("a", u8"\u00fc").set("b", {std::u8string_view(text)}).str() ==
          "{\"a\":\"\xc3\xbc\",\"b\":[\"\xc3\xbc\"],\"messages\":[{\"role\":\"user\",\"content\":\"\xc3\xbc\"}]}");
    const char8_t *const none = nullptr;
    CHECK(fluid::request().prompt(none).str() == R"({"prompt":null})" && fluid::name_or_path(none).str().empty());
    CHECK(fluid::name_or_path(text).str() == "\xc3\xbc" && fluid::name_or_path(text.c_str()).str() == "\xc3\xbc");
}

// A model that a translation unit of C++17 has made.
CASE(standards_mix) { CHECK(test::smol().handle() != nullptr && test::smol().generate(brief()).is_whole); }

#ifdef __cpp_lib_expected
CASE(results_become_expected) {
    const std::expected<fluid::answer, fluid::failure> answer = test::smol().try_generate(brief());
    CHECK(answer && answer->is_whole);
    const std::expected<fluid::model, fluid::failure> none = test::the_engine().try_load_model("missing.gguf");
    CHECK(!none && none.error().status == FLUID_ERROR_NOT_FOUND);
    const std::expected<void, fluid::failure> fits = fluid::try_check_abi();
    CHECK(fits);
}
#endif

#ifdef __cpp_lib_generator
static std::generator<std::string> words(const fluid::model &model) {
    for (const std::string_view text : fluid::generator(model.stream(brief()))) {
        co_yield std::string(text);
    }
}

CASE(streams_are_generators) {
    int count = 0;
    for (const std::string &word : words(test::smol())) {
        count += !word.empty();
    }
    CHECK(count > 0);
    const fluid::model model = test::tiny(test::the_engine(), 1);
    for (int i = 0; i < 3; ++i) { // destroyed in the middle, its job is stopped
        for (const std::string_view text : fluid::generator(model.stream(endless()))) {
            CHECK(!text.empty());
            break;
        }
    }
    CHECK(model.generate(brief()).is_whole);
    bool ended = false;
    for (const fluid::event &event : fluid::generator(model.start_generate(brief()))) {
        ended = event.kind == fluid::event_kind::end;
    }
    CHECK(ended);
    for (const fluid::segment &segment : fluid::generator(test::whisper().stream_transcribe(test::files.jfk))) {
        CHECK(segment.end > segment.start);
    }
    const auto too_late = [&] {
        for (const std::string_view text :
             fluid::generator(model.stream(fluid::request(endless()).set("deadline_ms", 50)))) {
            static_cast<void>(text);
        }
    };
    THROWS(too_late(), fluid::deadline_exceeded, FLUID_DEADLINE, "");
}
#endif
