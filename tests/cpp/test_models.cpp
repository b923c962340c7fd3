// Engines and their models: loads, speech, vectors, rankings, what is listed, the log.

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <numeric>

#include "models.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using test::files;
using test::the_engine;
using test::whisper;

static fs::path own_folder() {
    const fs::path folder = fs::temp_directory_path() / "fluid cpp M\xc3\xb6""dell \xf0\x9f\x98\x80 \xe6\xa8\xa1";
    fs::create_directories(folder / "llm");
    return folder;
}

static std::vector<char> read(const fs::path &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

CASE(loads_fail_as_exceptions) {
    const fluid::engine &engine = the_engine();
    THROWS(engine.load_model("missing.gguf"), fluid::not_found, FLUID_ERROR_NOT_FOUND, "missing.gguf");
    THROWS(engine.start_load_model("missing.gguf").get(), fluid::not_found, FLUID_ERROR_NOT_FOUND, "missing.gguf");
    CHECK(!engine.try_load_model(static_cast<const char *>(nullptr)) && !engine.try_load_model("missing.gguf", nullptr));
    THROWS(engine.load_model(std::string("a\0b", 3)), fluid::usage_error, FLUID_ERROR_INVALID_ARGUMENT, "NUL");
    THROWS(engine.load_model("\xff.gguf"), fluid::usage_error, FLUID_ERROR_INVALID_UTF8, "");
    THROWS(engine.load_model(files.tiny, fluid::options().set("n_ctxx", 1)), fluid::invalid_request,
           FLUID_ERROR_INVALID_REQUEST, "n_ctxx");
    THROWS(engine.load_model(files.tiny, "{"), fluid::invalid_request, FLUID_ERROR_INVALID_JSON, "");
    const fs::path broken = own_folder() / "broken.gguf";
    std::ofstream(broken, std::ios::binary).write(read(files.tiny).data(), 5000);
    THROWS(engine.load_model(broken), fluid::invalid_file, FLUID_ERROR_INVALID_MODEL, "");
    THROWS(fluid::engine("{\"nonsense\": 1}"), fluid::invalid_request, FLUID_ERROR_INVALID_REQUEST, "nonsense");
    const fluid::result<fluid::engine> none = fluid::engine::try_create("nonsense");
    CHECK(!none && none.error().status == FLUID_ERROR_INVALID_JSON);
    const fluid::result<fluid::model> model = engine.try_load_model("missing.gguf");
    CHECK(!model && model.error().status == FLUID_ERROR_NOT_FOUND);
}

CASE(paths_may_hold_anything) {
    const fs::path path = own_folder() / "llm" / "t\xc3\xafny \xf0\x9f\x98\x80.gguf";
    fs::remove(path);
    fs::create_symlink(fs::absolute(files.tiny), path);
    const fluid::request request = test::brief();
    CHECK(the_engine().load_model(path).generate(request).is_whole);
    CHECK(the_engine().load_model(path.string()).generate(request).is_whole);
    CHECK(the_engine().load_model(std::string_view(path.native())).generate(request).is_whole);
    CHECK(the_engine().load_model(path.c_str()).generate(request).is_whole);

    const fluid::engine engine(fluid::options().set("model_dir", own_folder()));
    const std::string models = engine.models();
    const fluid::value first = fluid::value(models)["data"][0];
    CHECK(first["name"].text() == "t\xc3\xafny \xf0\x9f\x98\x80.gguf" && first["runnable"].boolean());
    CHECK(engine.load_model("t\xc3\xafny \xf0\x9f\x98\x80").generate(request).is_whole);
    CHECK(fluid::value(engine.models(fluid::options().set("type", "whisper")))["data"].items().empty());
}

CASE(engines_tell_of_themselves) {
    fluid::engine engine;
    fluid::job events = engine.events();
    double progress = 0;
    const fluid::model model = engine.load_model(files.tiny, {}, [&](double now) {
        CHECK(now >= progress && now <= 1);
        progress = now;
    });
    CHECK(progress == 1);
    const std::optional<fluid::event> event = events.next_for(10s);
    CHECK(event && event->kind == fluid::event_kind::model && fluid::value(event->json)["event"].text() == "loaded");
    CHECK(fluid::value(engine.info())["models"][0]["state"].text() == "loaded");
    CHECK(fluid::value(engine.trim())["unloaded"].items().size() == 1);
    CHECK(fluid::value(engine.info())["models"][0]["state"].text() == "unloaded");
    CHECK(model.generate(test::brief()).is_whole);
    CHECK(fluid::value(model.info())["residence"]["state"].text() == "loaded");
    CHECK(fluid::value(engine.estimate(files.tiny, fluid::options().set("n_ctx", 512)))["total_bytes"].number() > 1e5);
    THROWS(engine.estimate("missing.gguf"), fluid::not_found, FLUID_ERROR_NOT_FOUND, "missing");
    CHECK(fluid::value(engine.devices())["cpu"]["logical_cores"].number() >= 1);
    const fluid::options quick = fluid::options().set("openvino", false);
    CHECK(fluid::value(engine.doctor(quick))["checks"].items().size() > 3);
    CHECK(fluid::value(fluid::doctor(quick))["text"].text().size() > 100);
    CHECK(fluid::value(fluid::devices())["devices"].items().size() >= 1);
    CHECK(fluid::abi_version() >> 16 == FLUID_ABI_VERSION >> 16 && std::strchr(fluid::version(), '.') != nullptr);
    fluid::check_abi();
    CHECK(std::string(fluid::status_name(FLUID_OK)) == "FLUID_OK");
}

CASE(downloads_fail_as_exceptions) {
    const fluid::options offline = fluid::options().set("model_dir", own_folder()).set("offline", true);
    const fluid::engine engine(offline);
    THROWS(engine.download("owner/name"), fluid::not_found, FLUID_ERROR_NOT_FOUND, "owner/name");
    THROWS(engine.start_download("owner/name").get(), fluid::not_found, FLUID_ERROR_NOT_FOUND, "owner/name");
    // Nobody listens there; the library tries again until it is stopped.
    const fluid::engine refused(fluid::options().set("model_dir", own_folder()).set("hub_endpoint", "http://127.0.0.1:9"));
    THROWS(refused.download("owner/name", fluid::options().set("deadline_ms", 200)), fluid::error, FLUID_DEADLINE, "");
    fluid::job_of<std::string> job = refused.start_download("owner/name");
    job.cancel();
    THROWS(job.get(), fluid::cancelled, FLUID_CANCELLED, "");
}

// --- speech --------------------------------------------------------------------------------------

static bool is_jfk(const std::string &text) { return text.find("my fellow Americans") != std::string::npos; }

CASE(speech_becomes_text_and_segments) {
    int segments = 0;
    const fluid::transcript whole = whisper().transcribe(files.jfk, {}, [&](const fluid::segment &segment) {
        CHECK(segment.end > segment.start && is_jfk(segment.text) == (segments == 0));
        ++segments;
    });
    CHECK(is_jfk(whole.text()) && whole.text().front() == 'A' && whole.language == "en" && whole.is_whole);
    CHECK(segments >= 1 && whole.segments.size() == static_cast<std::size_t>(segments));
    CHECK(fluid::value(whole.body)["text"].text() == whole.text());
    const fluid::request english = fluid::request().set("language", "en").set("response_format", "srt");
    fluid::segment_stream stream = whisper().stream_transcribe(files.jfk, english);
    std::string text;
    for (const fluid::segment &segment : stream) {
        text += segment.text;
    }
    CHECK(text == " " + whole.text());
    const fluid::transcript subtitles = stream.get();
    CHECK(subtitles.body.find("00:00:00,000 --> ") != std::string::npos && subtitles.language.empty());
    CHECK(subtitles.segments.size() == whole.segments.size());
}

CASE(a_queue_delivers_transcripts) {
    const fluid::transcript expected = whisper().transcribe(files.jfk);
    for (const std::string format : {"json", "verbose_json", "srt"}) {
        fluid::queue queue;
        fluid::job_of<fluid::transcript> job =
            whisper().start_transcribe(files.jfk, fluid::request().set("response_format", format));
        job.attach(queue);
        std::optional<fluid::queue::item> item = queue.next();
        while (item && item->event.kind != fluid::event_kind::end) {
            item = queue.next();
        }
        CHECK(item);
        const fluid::transcript got = job.finish(item->event);
        CHECK(got.is_whole && is_jfk(got.body) && got.text() == (format == "srt" ? "" : expected.text()));
        if (format != "verbose_json") {
            CHECK(got.segments.empty() && got.language.empty());
            continue;
        }
        CHECK(got.language == "en" && got.segments.size() == expected.segments.size());
        for (std::size_t i = 0; i < got.segments.size(); ++i) {
            const fluid::segment &one = got.segments[i], &other = expected.segments[i];
            CHECK(one.text == other.text && fluid::value(one.json)["id"].number(-1) == static_cast<double>(i));
            CHECK(std::abs(one.start - other.start) < 0.001 && std::abs(one.end - other.end) < 0.001);
            CHECK(std::abs(one.logprob - other.logprob) < 0.001f);
        }
    }
}

CASE(recordings_come_in_each_form) {
    const std::vector<char> bytes = read(files.jfk);
    CHECK(is_jfk(whisper().transcribe(fluid::audio::encoded(bytes)).text()));
    // 16-bit samples behind a header of 44 bytes, 16,000 a second, one channel.
    std::vector<std::int16_t> samples((bytes.size() - 44) / 2);
    std::memcpy(samples.data(), bytes.data() + 44, samples.size() * 2);
    std::vector<float> stereo;
    for (const std::int16_t sample : samples) {
        stereo.insert(stereo.end(), 2, static_cast<float>(sample) / 32768.0f);
    }
    fluid::job_of<fluid::transcript> job = whisper().start_transcribe(fluid::audio::pcm(stereo, 16000, 2));
    stereo.assign(stereo.size(), 0); // it was copied
    CHECK(is_jfk(job.get().text()));
    CHECK(is_jfk(whisper().transcribe(fluid::audio::pcm(samples.data(), samples.size(), 16000)).text()));
    THROWS(whisper().transcribe(fluid::audio::pcm(samples, 16000, 0)), fluid::usage_error,
           FLUID_ERROR_INVALID_ARGUMENT, "channels");
    THROWS(whisper().transcribe(fluid::audio::encoded(std::string("no audio"))), fluid::invalid_file,
           FLUID_ERROR_INVALID_AUDIO, "");
    THROWS(whisper().transcribe(fs::path("missing.wav")), fluid::not_found, FLUID_ERROR_NOT_FOUND, "missing.wav");
    THROWS(whisper().transcribe(files.jfk, "{\"language\": \"xx\"}"), fluid::invalid_request,
           FLUID_ERROR_INVALID_REQUEST, "language");
    const fluid::transcript stopped = whisper().transcribe(files.jfk, {}, [](const fluid::event &) { return false; });
    CHECK(!stopped.is_whole && stopped.segments.size() <= 1);
}

// --- vectors -------------------------------------------------------------------------------------

static double cosine(fluid::floats one, fluid::floats other) {
    return std::inner_product(one.begin(), one.end(), other.begin(), 0.0);
}

CASE(texts_become_vectors) {
    const fluid::model model = the_engine().load_model(files.embedder);
    const fluid::embeddings vectors = model.embed(fluid::request().set(
        "input", {"How do I get my money back?", "Refunds are paid to your card.", "We open at nine."}));
    CHECK(vectors.size() == 3 && vectors.dimensions == 384 && vectors.values.size() == 3 * 384 && vectors.is_whole);
    CHECK(vectors[2].size() == 384 && vectors[2].data() == vectors.values.data() + 768);
    CHECK(std::abs(cosine(vectors[0], vectors[0]) - 1) < 1e-3);
    CHECK(cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]));
    CHECK(fluid::value(vectors.json)["usage"]["total_tokens"].number() > 10);
    fluid::job_of<fluid::embeddings> job = model.start_embed(fluid::request().set("input", "We open at nine."));
    const fluid::embeddings again = job.get();
    CHECK(cosine(again[0], vectors[2]) > 0.999);
    THROWS(model.embed(fluid::request().set("input", "")), fluid::invalid_request, FLUID_ERROR_INVALID_REQUEST, "input");
    THROWS(test::smol().embed(fluid::request().set("input", "x")), fluid::unsupported, FLUID_ERROR_UNSUPPORTED, "");
    const fluid::embeddings none =
        model.embed(fluid::request().set("input", std::vector<std::string>(2000, "a b c d e f")),
                    [](const fluid::event &) { return false; });
    CHECK(!none.is_whole && none.size() < 2000);
    // Those of the first texts are there, whoever stopped it.
    fluid::job_of<fluid::embeddings> many =
        model.start_embed(fluid::request().set("input", std::vector<std::string>(2000, "a b c d e f")));
    while (many.next()->progress <= 0) {
    }
    many.cancel();
    THROWS(many.get(), fluid::cancelled, FLUID_CANCELLED, "");
    const fluid::embeddings first = many.partial();
    CHECK(!first.is_whole && first.size() > 0 && first.size() < 2000 && first.dimensions == 384);
}

CASE(documents_are_ranked) {
    const fluid::model model = the_engine().load_model(files.reranker);
    const fluid::ranking ranking = model.rerank(fluid::request()
                                                    .set("query", "bread")
                                                    .set("documents", {"one \"index\":9", "two", "three"})
                                                    .set("return_documents", true)
                                                    .set("top_n", 2));
    CHECK(ranking.results.size() == 2 && ranking.results[0].score >= ranking.results[1].score && ranking.is_whole);
    CHECK(ranking.results[0].index < 3 && ranking.results[0].index != ranking.results[1].index);
    CHECK(fluid::value(ranking.json)["results"][1]["relevance_score"].number() == ranking.results[1].score);
    CHECK(model.start_rerank(R"({"query": "a", "documents": ["b"]})").get().results.size() == 1);
    THROWS(test::smol().rerank(R"({"query": "a", "documents": ["b"]})"), fluid::unsupported, FLUID_ERROR_UNSUPPORTED, "");
}

// --- the log -------------------------------------------------------------------------------------

CASE(the_log_has_its_function) {
    std::mutex lock;
    std::vector<std::string> lines;
    std::atomic<int> refused{0};
    fluid::set_log(
        [&](fluid::log_level level, std::string_view line) {
            const std::lock_guard<std::mutex> guard(lock);
            lines.emplace_back(line);
            CHECK(level <= fluid::log_level::info);
            const fluid::result<void> inside = fluid::try_set_log(nullptr);
            refused += !inside && inside.error().status == FLUID_ERROR_BUSY;
            throw 7; // nobody's business
        },
        fluid::log_level::info);
    THROWS(the_engine().load_model("missing.gguf"), fluid::not_found, FLUID_ERROR_NOT_FOUND, "");
    the_engine().load_model(files.tiny).close();
    fluid::set_log(nullptr);
    const std::size_t count = lines.size();
    CHECK(count >= 2 && refused == static_cast<int>(count));
    the_engine().load_model(files.tiny).close();
    CHECK(lines.size() == count);
    THROWS(fluid::set_log([](fluid::log_level, std::string_view) {}, static_cast<fluid::log_level>(77)),
           fluid::usage_error, FLUID_ERROR_INVALID_ARGUMENT, "level");
}
