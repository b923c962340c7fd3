// Answers of SmolLM2: whole, streamed, stopped, failed.

#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <stdexcept>
#include <thread>

#include "models.hpp"

using namespace std::chrono_literals;
using test::brief;
using test::endless;
using test::smol;

static fluid::request question() {
    return fluid::request().user("Name three colours.").set("max_tokens", 10).set("temperature", 0).set("seed", 1);
}

CASE(an_answer_comes_whole_and_in_pieces) {
    const fluid::answer answer = smol().generate(question());
    CHECK(answer.text().size() > 10 && answer.is_whole && answer.choices.size() == 1);
    CHECK(answer.finish_reason() == "stop" || answer.finish_reason() == "length");
    CHECK(answer.reasoning().empty() && answer.tool_calls().empty());
    CHECK(fluid::value(answer.json)["usage"]["completion_tokens"].number() > 3);

    std::string texts, events, ranges;
    CHECK(smol().generate(question(), [&](std::string_view text) { texts += text; }).text() == answer.text());
    int ends = 0;
    smol().generate(question(), [&](const fluid::event &event) {
        events += event.kind == fluid::event_kind::token ? event.text : "";
        if (event.kind == fluid::event_kind::end) {
            ++ends;
            CHECK(event.status == FLUID_OK && event.elapsed > 0 && event.age >= 0);
            CHECK(fluid::value(event.json)["choices"][0]["message"]["content"].text() == answer.text());
        }
        return true;
    });
    fluid::text_stream stream = smol().stream(question());
    for (const std::string_view text : stream) {
        ranges += text;
    }
    CHECK(texts == answer.text() && events == texts && ranges == texts && ends == 1);
    CHECK(stream.get().text() == texts && !stream.next());
}

CASE(requests_are_texts_or_built) {
    const fluid::answer raw = smol().generate(R"({"prompt": "1, 2, 3, 4,", "max_tokens": 6, "temperature": 0})");
    const fluid::answer built =
        smol().generate(fluid::request().prompt("1, 2, 3, 4,").set("max_tokens", 6).set("temperature", 0));
    CHECK(raw.text() == built.text() && raw.text().find('5') != std::string::npos);
    const fluid::answer two = smol().generate(fluid::request(brief()).set("n", 2));
    CHECK(two.choices.size() == 2 && !two.choices[0].text.empty() && !two.choices[1].text.empty());
}

CASE(tools_are_called) {
    const fluid::answer answer = smol().generate(
        fluid::request()
            .user("What is the weather in Bonn?")
            .set("temperature", 0)
            .set("tool_choice", "required")
            .set("parallel_tool_calls", false)
            .set("tools", fluid::raw{R"([{"type": "function", "function": {"name": "get_weather", "parameters":
                {"type": "object", "properties": {"city": {"enum": ["Bonn", "Rome"]}}, "required": ["city"]}}}])"}));
    CHECK(answer.finish_reason() == "tool_calls" && answer.tool_calls().size() == 1);
    const fluid::tool_call &call = answer.tool_calls().front();
    const std::string city = fluid::value(call.arguments)["city"].text();
    CHECK(call.name == "get_weather" && !call.id.empty() && (city == "Bonn" || city == "Rome"));
}

CASE(reasoning_is_told_apart) {
    // The template's last words open the reasoning, and the budget closes it.
    const fluid::model model = test::the_engine().load_model(
        test::files.smol,
        fluid::options().set("n_ctx", 1024).set(
            "chat_template", "{% for message in messages %}{{ message.content }}\n{% endfor %}"
                             "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
                             "{# </think> #}"));
    std::string thought;
    const fluid::answer answer =
        model.generate(fluid::request(question()).set("reasoning_budget", 4), [&](const fluid::event &event) {
            thought += event.kind == fluid::event_kind::reasoning ? event.text : "";
        });
    CHECK(!answer.reasoning().empty() && answer.reasoning() == thought);
    CHECK(fluid::value(answer.json)["usage"]["completion_tokens_details"]["reasoning_tokens"].number() >= 4);
}

CASE(a_callback_stops) {
    int tokens = 0;
    const fluid::answer answer = smol().generate(endless(), [&](std::string_view) { return ++tokens < 5; });
    CHECK(tokens == 5 && !answer.is_whole && answer.finish_reason() == "cancelled" && !answer.text().empty());
    CHECK(smol().generate(brief()).is_whole);
    // A load has no part that is of use.
    const fluid::result<fluid::model> load =
        test::the_engine().try_load_model(test::files.smol, {}, [](double) { return false; });
    CHECK(!load && load.error().status == FLUID_CANCELLED && load.error().partial.empty());
}

CASE(a_callback_does_not_stop_what_has_ended) {
    const auto until_the_end = [](const fluid::event &event) { return event.kind != fluid::event_kind::end; };
    CHECK(smol().generate(brief(), until_the_end).is_whole);
    fluid::job_of<fluid::answer> job = smol().start_generate(endless());
    const auto cancels = [&](const fluid::event &event) {
        job.cancel();
        return until_the_end(event);
    };
    THROWS(job.get(cancels), fluid::cancelled, FLUID_CANCELLED, "");
}

struct own_error : std::runtime_error {
    explicit own_error(int its_number) : runtime_error("from a callback"), number(its_number) {}
    int number;
};

template <class Act>
static bool throws_own(Act &&act) {
    try {
        act();
    } catch (const own_error &error) {
        return error.number == 42 && std::string(error.what()) == "from a callback";
    }
    return false;
}

CASE(what_a_callback_throws_reaches_the_caller) {
    const auto thrower = [](const fluid::event &event) {
        if (event.kind == fluid::event_kind::token || event.kind == fluid::event_kind::progress) {
            throw own_error(42);
        }
    };
    const fluid::model one = test::tiny(test::the_engine(), 1);
    CHECK(throws_own([&] { smol().generate(question(), thrower); }));
    for (int i = 0; i < 3; ++i) {
        CHECK(throws_own([&] { one.generate(endless(), thrower); }));
        CHECK(throws_own([&] { static_cast<void>(one.try_generate(endless(), thrower)); }));
    }
    CHECK(throws_own([&] { test::the_engine().load_model(test::files.smol, {}, thrower); }));
    // Its one slot is free again, so the jobs were stopped.
    CHECK(one.generate(brief()).is_whole);
    bool threw = false;
    try {
        one.generate(endless(), [](std::string_view) { throw 7; });
    } catch (int number) {
        threw = number == 7;
    }
    CHECK(threw);
}

CASE(a_callback_may_call_anything) {
    fluid::model one = test::tiny(test::the_engine(), 1);
    int inner = 0;
    one.generate(brief(), [&](std::string_view) {
        inner += static_cast<int>(fluid::value(one.tokenize(R"({"content": "hello"})"))["count"].number());
        inner += smol().generate(brief()).is_whole;
    });
    CHECK(inner > 3);
    // The outer answer waits for its callback, the inner one for the outer's slot, its only one.
    const fluid::engine narrow("{\"event_queue\": 2}");
    const fluid::model only = test::tiny(narrow, 1);
    bool was_whole = false;
    only.generate(endless(), [&](std::string_view) {
        was_whole = only.generate(brief()).is_whole;
        return false;
    });
    CHECK(was_whole);
    try { // the model goes while it answers
        one.generate(endless(), [&](std::string_view) { one.close(); });
        CHECK(false);
    } catch (const fluid::cancelled &error) {
        CHECK(!fluid::value(error.partial())["choices"][0]["text"].text().empty());
    }
}

CASE(deadlines_and_cancels_carry_what_came) {
    try {
        smol().generate(fluid::request(endless()).set("deadline_ms", 300));
        CHECK(false);
    } catch (const fluid::deadline_exceeded &error) {
        CHECK(error.status() == FLUID_DEADLINE && fluid::value(error.partial())["choices"][0]["text"]);
    }
    fluid::job_of<fluid::answer> job = smol().start_generate(endless());
    while (job.next()->kind != fluid::event_kind::token) {
    }
    std::thread([&] { job.cancel(); }).join();
    const fluid::result<fluid::answer> part = job.try_get();
    CHECK(!part && part.error().status == FLUID_CANCELLED && job.done() && job.status() == FLUID_CANCELLED);
    CHECK(!fluid::value(part.error().partial)["choices"][0]["text"].text().empty());
    THROWS(job.get(), fluid::cancelled, FLUID_CANCELLED, "");
    CHECK(job.partial().json == part.error().partial && !job.partial().is_whole);
    CHECK(job.partial().finish_reason() == "cancelled" && !job.partial().text().empty());
    fluid::text_stream stream = smol().stream(endless());
    CHECK(stream.next() && stream.next());
    stream.cancel();
    bool threw = false;
    try {
        for (const std::string_view text : stream) {
            static_cast<void>(text);
        }
    } catch (const fluid::cancelled &) {
        threw = true;
    }
    CHECK(threw);
}

CASE(a_job_is_read_by_hand) {
    fluid::job_of<fluid::answer> job = smol().start_generate(question());
    THROWS(job.text(), fluid::busy, FLUID_ERROR_BUSY, "");
    THROWS(job.partial(), fluid::busy, FLUID_ERROR_BUSY, "final event");
    int tokens = 0, ends = 0;
    CHECK(!job.wait_for(0s) && !job.done() && !job.status());
    for (const fluid::event &event : job) {
        tokens += event.kind == fluid::event_kind::token;
        ends += event.kind == fluid::event_kind::end;
    }
    CHECK(tokens > 3 && ends == 1 && job.done() && job.status() == FLUID_OK && !job.next() && !job.next_for(1s));
    CHECK(job.wait_for(0s) && job.get().json == job.text() && job.partial().is_whole);

    fluid::job_of<fluid::answer> dropped = smol().start_generate(question());
    CHECK(dropped.wait_for(std::chrono::hours::max()) && dropped.get().json == dropped.text());
}

CASE(any_time_can_be_waited) {
    fluid::job_of<fluid::answer> job = smol().start_generate(endless());
    const std::chrono::duration<double> no_number(std::numeric_limits<double>::quiet_NaN());
    CHECK(!job.wait_for(no_number) && !job.wait_for(std::chrono::hours::min()) && !job.wait_for(-1ns));
    CHECK(!job.wait_for(std::chrono::duration<double>(-1e300)) && !job.done());
    fluid::queue queue;
    CHECK(!queue.next_for(no_number) && !queue.next_for(std::chrono::hours::min()));
    job.cancel();
    CHECK(job.wait_for(std::chrono::duration<double>(1e300)) && job.status() == FLUID_CANCELLED);
}

CASE(a_job_that_fails_tells_once_it_ended) {
    const std::string words = [] {
        std::string all;
        for (int i = 0; i < 3000; ++i) {
            all += "word ";
        }
        return all;
    }();
    const fluid::request too_long = fluid::request().prompt(words);
    THROWS(smol().generate(too_long), fluid::context_overflow, FLUID_ERROR_CONTEXT_OVERFLOW, "1024");
    fluid::job_of<fluid::answer> job = smol().start_generate(too_long);
    bool threw = false;
    fluid_status last = FLUID_OK;
    try {
        for (const fluid::event &event : job) {
            last = event.status;
        }
    } catch (const fluid::context_overflow &error) {
        threw = error.message().find("1024") != std::string::npos;
    }
    CHECK(threw && last == FLUID_ERROR_CONTEXT_OVERFLOW);
    THROWS(job.get(), fluid::context_overflow, FLUID_ERROR_CONTEXT_OVERFLOW, "");
    THROWS(smol().stream(too_long).next(), fluid::context_overflow, FLUID_ERROR_CONTEXT_OVERFLOW, "");
}

CASE(wrong_requests_are_refused) {
    THROWS(smol().generate("Why is the sky blue?"), fluid::invalid_request, FLUID_ERROR_INVALID_JSON, "");
    THROWS(smol().generate(fluid::request()), fluid::invalid_request, FLUID_ERROR_INVALID_REQUEST, "messages");
    THROWS(smol().generate(fluid::request().message("king", "Hi")), fluid::invalid_request,
           FLUID_ERROR_INVALID_REQUEST, "messages[0].role");
    THROWS(smol().stream(fluid::request().user("\xff")), fluid::usage_error, FLUID_ERROR_INVALID_UTF8, "");
    THROWS(smol().start_generate(fluid::request(std::string("{\"prompt\": \"a\0b\"}", 17))), fluid::usage_error,
           FLUID_ERROR_INVALID_ARGUMENT, "NUL");
    THROWS(smol().transcribe(test::files.jfk), fluid::unsupported, FLUID_ERROR_UNSUPPORTED, "");
    const fluid::result<fluid::answer> result = smol().try_generate(fluid::request().set("prompt", 7));
    CHECK(!result && result.error().status == FLUID_ERROR_INVALID_REQUEST && result.error().partial.empty());
}

CASE(a_queue_delivers_many_jobs) {
    fluid::queue queue;
    std::vector<fluid::job_of<fluid::answer>> jobs;
    for (int i = 0; i < 8; ++i) {
        jobs.push_back(smol().start_generate(brief()));
        jobs.back().attach(queue);
    }
    THROWS(jobs[0].next(), fluid::busy, FLUID_ERROR_BUSY, "");
    THROWS(jobs[0].attach(queue), fluid::busy, FLUID_ERROR_BUSY, "");
    int running = 8;
    while (running > 0) {
        const std::optional<fluid::queue::item> item = queue.next();
        CHECK(item);
        for (fluid::job_of<fluid::answer> &job : jobs) {
            if (item->job == job.handle() && item->event.kind != fluid::event_kind::end) {
                THROWS(job.finish(item->event), fluid::usage_error, FLUID_ERROR_INVALID_ARGUMENT, "final");
            } else if (item->job == job.handle()) {
                CHECK(job.finish(item->event).is_whole && job.done());
                --running;
            }
        }
    }
    CHECK(!queue.next_for(1ms));
    fluid::job_of<fluid::answer> late = smol().start_generate(brief());
    late.attach(queue);
    while (queue.next()->event.kind != fluid::event_kind::end) {
    }
    queue.close();
    queue.close();
    THROWS(late.get(), fluid::usage_error, FLUID_ERROR_INVALID_ARGUMENT, "finish()");
    THROWS(queue.next(), fluid::usage_error, FLUID_ERROR_INVALID_HANDLE, "");
}

CASE(states_are_saved_and_restored) {
    const std::filesystem::path path = std::filesystem::temp_directory_path() / "fluid cpp \xc3\xbc.state";
    const fluid::request chat = fluid::request().system("You are a helpful and very brief assistant.").user("Hi");
    double progress = -1;
    const std::string saved = smol().save_state(chat, path, [&](double now) { progress = now; });
    const double tokens = fluid::value(saved)["tokens"].number();
    CHECK(tokens > 5 && fluid::value(saved)["bytes"].number() > 1000 && std::filesystem::exists(path));
    const fluid::model other =
        test::the_engine().load_model(test::files.smol, fluid::options().set("n_ctx", 1024));
    CHECK(fluid::value(other.restore_state(path))["tokens"].number() == tokens);
    const fluid::answer answer = other.generate(fluid::request(chat).set("max_tokens", 2));
    CHECK(fluid::value(answer.json)["usage"]["prompt_tokens_details"]["cached_tokens"].number() >= tokens - 1);
    std::filesystem::resize_file(path, 100);
    THROWS(other.restore_state(path), fluid::invalid_file, FLUID_ERROR_INVALID_STATE, "");
    THROWS(other.restore_state(path / "none"), fluid::error, FLUID_ERROR_IO, "");
    std::filesystem::remove(path);
    THROWS(other.start_restore_state(path).get(), fluid::not_found, FLUID_ERROR_NOT_FOUND, "");
    THROWS(smol().save_state(chat, path / "no folder"), fluid::not_found, FLUID_ERROR_NOT_FOUND, "");
}

CASE(tokens_and_texts_go_both_ways) {
    const std::string tokens = smol().tokenize(fluid::request().set("content", "Hello, w\xc3\xb6rld"));
    CHECK(fluid::value(tokens)["count"].number() > 2);
    const std::string text = smol().detokenize(fluid::request().set("tokens", fluid::raw{fluid::value(tokens)["tokens"].json()}));
    CHECK(fluid::value(text)["content"].text() == "Hello, w\xc3\xb6rld");
    CHECK(fluid::value(smol().tokenize(question()))["prompt"].text().find("Name three colours.") != std::string::npos);
    CHECK(fluid::value(smol().info())["n_parallel"].number() == 4);
    THROWS(smol().tokenize("{}"), fluid::invalid_request, FLUID_ERROR_INVALID_REQUEST, "");
}
