// Ends of things: closed twice, moved from, freed while others use them, left in the middle of a stream.

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "models.hpp"

using namespace std::chrono_literals;
using test::brief;
using test::endless;

CASE(what_is_closed_or_moved_from_says_so) {
    fluid::engine engine;
    fluid::model model = test::tiny(engine);
    fluid::model moved = std::move(model);
    CHECK(model.handle() == nullptr && moved.generate(brief()).is_whole); // NOLINT: what is left is looked at
    THROWS(model.generate(brief()), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    model = std::move(moved);
    fluid::model &self = model;
    model = std::move(self);
    CHECK(model.generate(brief()).is_whole);
    for (int i = 0; i < 3; ++i) {
        model.close();
        THROWS(model.info(), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
        THROWS(model.tokenize(brief()), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    }
    fluid::job_of<fluid::answer> job = test::smol().start_generate(brief());
    fluid::job_of<fluid::answer> other = std::move(job);
    job.cancel();
    job.close();
    THROWS(job.next(), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    CHECK(other.get().is_whole);
    other.close();
    other.close();
    THROWS(other.text(), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    engine.close();
    engine.close();
    THROWS(engine.info(), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    THROWS(engine.load_model(test::files.tiny), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
}

CASE(handles_go_to_c_and_come_back) {
    fluid::model model = test::tiny(test::the_engine());
    fluid_model *const handle = model.release();
    CHECK(handle != nullptr && model.handle() == nullptr);
    CHECK(fluid_generate(handle, brief().str().c_str(), nullptr, nullptr, nullptr) == FLUID_OK);
    CHECK(fluid::model(handle).generate(brief()).is_whole);
    fluid::job_of<fluid::answer> job = test::smol().start_generate(brief());
    CHECK(fluid_job_free(job.release()) == FLUID_OK);
    fluid::engine engine;
    fluid::queue queue;
    CHECK(fluid_engine_free(engine.release()) == FLUID_OK && engine.handle() == nullptr);
    CHECK(fluid_queue_free(queue.release()) == FLUID_OK && queue.handle() == nullptr);
}

CASE(parts_outlive_what_they_came_from) {
    auto engine = std::make_unique<fluid::engine>();
    const fluid::model model = test::tiny(*engine);
    fluid::job_of<fluid::answer> job = model.start_generate(endless());
    fluid::text_stream stream = model.stream(endless());
    fluid::job events = engine->events();
    CHECK(stream.next());
    engine.reset();
    THROWS(job.get(), fluid::cancelled, FLUID_CANCELLED, "");
    events.wait();
    CHECK(events.status() == FLUID_CANCELLED);
    const auto read_on = [&] {
        while (stream.next()) {
        }
    };
    THROWS(read_on(), fluid::cancelled, FLUID_CANCELLED, "");
    THROWS(model.generate(brief()), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
    THROWS(model.stream(brief()), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
}

// Each stream is left with its job running; if one went on, the model's only slot would stay taken.
CASE(a_destructor_in_the_middle_of_a_stream_stops_it) {
    const fluid::engine engine("{\"event_queue\": 2}");
    const fluid::model model = test::tiny(engine, 1);
    for (int i = 0; i < 20; ++i) {
        int texts = 0;
        for (const std::string_view text : model.stream(endless())) {
            CHECK(!text.empty());
            if (++texts == 3) {
                break;
            }
        }
        fluid::text_stream first = model.stream(endless());
        fluid::text_stream second = model.stream(endless()); // waits for the slot
        CHECK(first.next());
        first = std::move(second); // the first job goes, the second gets its slot
        CHECK(first.next());
        auto job = std::make_unique<fluid::job_of<fluid::answer>>(model.start_generate(endless()));
        first.close();
        CHECK(job->next_for(10s));
    }
    CHECK(model.generate(brief()).is_whole);
}

// Every way in which a model, a job or an engine goes while other threads are inside it.
CASE(closed_by_another_thread) {
    for (int i = 0; i < 12; ++i) {
        fluid::engine engine("{\"event_queue\": 2}");
        fluid::model model = test::tiny(engine);
        fluid::job_of<fluid::answer> job = model.start_generate(endless());
        std::atomic<int> ended{0}, begun{0};
        const auto generates = [&] {
            ++begun;
            const fluid::result<fluid::answer> result = model.try_generate(endless());
            CHECK(!result);
            ended += result.error().status == FLUID_CANCELLED || result.error().status == FLUID_ERROR_INVALID_HANDLE;
        };
        const auto reads = [&] {
            ++begun;
            const fluid::result<fluid::answer> result = job.try_get();
            CHECK(!result);
            ended += result.error().status == FLUID_CANCELLED || result.error().status == FLUID_ERROR_INVALID_HANDLE;
        };
        std::thread threads[] = {std::thread(generates), std::thread(generates), std::thread(reads)};
        while (begun < 3) {
            std::this_thread::yield();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(i));
        if (i % 3 == 0) {
            job.cancel();
            model.close();
        } else if (i % 3 == 1) {
            model.close();
        } else {
            engine.close();
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
        CHECK(ended == 3);
    }
    // A job and a queue that are freed through their handles while somebody waits for them.
    const fluid::engine engine;
    fluid::queue queue;
    fluid::job events = engine.events();
    std::thread waits([&] {
        const fluid::result<std::optional<fluid::queue::item>> nothing = queue.try_next();
        CHECK(nothing ? !nothing->has_value() : nothing.error().status == FLUID_ERROR_INVALID_HANDLE);
    });
    std::thread waits_too([&] {
        const fluid::result<void> end = events.try_wait();
        CHECK(end ? events.status() == FLUID_CANCELLED : end.error().status == FLUID_ERROR_INVALID_HANDLE);
    });
    std::this_thread::sleep_for(10ms);
    CHECK(fluid_queue_free(queue.handle()) == FLUID_OK && fluid_job_free(events.handle()) == FLUID_OK);
    waits.join();
    waits_too.join();
}

CASE(fifty_threads) {
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 50; ++i) {
        threads.emplace_back([&, i] {
            const fluid::model &model = test::smol();
            const fluid::request request = brief();
            switch (i % 5) {
            case 0: done += model.generate(request).is_whole; break;
            case 1: {
                std::size_t bytes = 0;
                for (const std::string_view text : model.stream(request)) {
                    bytes += text.size();
                }
                done += bytes > 0;
                break;
            }
            case 2: {
                int tokens = 0;
                done += !model.generate(endless(), [&](std::string_view) { return ++tokens < 2; }).is_whole;
                break;
            }
            case 3: {
                fluid::text_stream stream = model.stream(endless());
                done += stream.next().has_value();
                break;
            }
            default: {
                const fluid::result<fluid::answer> failed = model.try_generate("{}");
                // Errors are each thread's own.
                done += !failed && failed.error().message.find("messages") != std::string::npos &&
                        fluid::value(model.tokenize(R"({"content": "a b"})"))["count"].number() >= 2;
            }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(done == 50);
}

// --- ends of the process, each asked for by name -------------------------------------------------

static fluid::engine *late_engine;
static fluid::model *late_model;
static std::unique_ptr<fluid::text_stream> late_stream;

static void start_late() {
    static fluid::engine engine;
    static fluid::model model = test::tiny(engine);
    late_engine = &engine;
    late_model = &model;
    late_stream = std::make_unique<fluid::text_stream>(model.stream(endless()));
    CHECK(late_stream->next());
    fluid::set_log([words = std::string("kept until the end")](fluid::log_level, std::string_view) {
        CHECK(words == "kept until the end");
    });
    for (int i = 0; i < 2; ++i) {
        std::thread([] {
            while (late_model->try_generate(endless(), [](std::string_view) {})) {
            }
        }).detach();
    }
    std::this_thread::sleep_for(20ms);
}

// The destructors of static objects run while other threads are inside the model.
CASE(exit_with_streams_running) {
    start_late();
    std::exit(0); // NOLINT: that is what is tried
}

CASE(exit_by_return) { start_late(); }

CASE(exit_with_all_left_behind) {
    start_late();
    auto *const engine = new fluid::engine;
    auto *const model = new fluid::model(test::tiny(*engine));
    auto *const stream = new fluid::text_stream(model->stream(endless()));
    CHECK(stream->next() && late_engine != nullptr);
    static const void *reachable[] = {engine, model, stream};
    CHECK(reachable[0] != nullptr);
}
