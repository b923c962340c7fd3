// The writer and the reader of JSON, results, times: no model needed.

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <locale>
#include <memory>
#include <type_traits>

#include "check.hpp"

CASE(json_is_written) {
    CHECK(fluid::request().str() == "{}" && fluid::options().empty());
    CHECK(fluid::options().set("a", 1).set("b", true).set("c", nullptr).set("d", "x").str() ==
          R"({"a":1,"b":true,"c":null,"d":"x"})");
    CHECK(fluid::options().set("a", std::vector<int>{1, -2}).set("b", {"x", "y"}).str() ==
          R"({"a":[1,-2],"b":["x","y"]})");
    CHECK(fluid::options().set("a", std::vector<bool>{true, false}).set("b", std::vector<std::string>{}).str() ==
          R"({"a":[true,false],"b":[]})");
    CHECK(fluid::options().set("a", fluid::object().set("b", 1)).set("c", fluid::raw{"[1, 2]"}).str() ==
          R"({"a":{"b":1},"c":[1, 2]})");
    CHECK(fluid::options().set("a", std::array<std::array<int, 2>, 2>{{{1, 2}, {3, 4}}}).str() == R"({"a":[[1,2],[3,4]]})");
    CHECK(fluid::options().set("p", std::filesystem::path("/tmp/\xc3\xbc \xf0\x9f\x98\x80")).str() ==
          "{\"p\":\"/tmp/\xc3\xbc \xf0\x9f\x98\x80\"}");
    CHECK(fluid::options().set("a", {0}).set("b", {0, 1}).set("c", {-1, 0.5}).set("d", {std::string("x"), "y"}).str() ==
          R"({"a":[0],"b":[0,1],"c":[-1,0.5],"d":["x","y"]})");
    CHECK(fluid::options().set("a", {}).set("b", {true, nullptr, "x"}).set("c", {fluid::object(), fluid::object().set("d", 0)}).str() ==
          R"({"a":[],"b":[true,null,"x"],"c":[{},{"d":0}]})");
    CHECK(fluid::options().set("big", std::numeric_limits<std::uint64_t>::max()).str() == R"({"big":18446744073709551615})");
}

// Where a text may be missing in C, as of getenv.
CASE(null_pointers_are_nothing) {
    const char *const none = nullptr;
    CHECK(fluid::options().set("a", none).set("b", std::vector<const char *>{"x", none}).set("c", {none}).str() ==
          R"({"a":null,"b":["x",null],"c":[null]})");
    CHECK(fluid::options(none).str() == "{}" && fluid::request(nullptr).set("n", 1).str() == R"({"n":1})");
    CHECK(fluid::name_or_path(none).str().empty() && !fluid::value(none));
}

CASE(texts_are_escaped) {
    using namespace std::string_literals;
    const std::string text = "\"\\/\b\f\n\r\t\x01\x1f\x7f \0 \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"s;
    const std::string json = fluid::request().set("content", text).str();
    CHECK(json == "{\"content\":\"\\\"\\\\/\\u0008\\u000c\\u000a\\u000d\\u0009\\u0001\\u001f\x7f \\u0000 "
                  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}");
    CHECK(fluid::value(json)["content"].text() == text);
    CHECK(fluid::request().set("a\"b", 1).str() == "{\"a\\\"b\":1}");
}

struct commas : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

CASE(numbers_keep_their_value) {
    CHECK(fluid::options().set("t", 0.2).set("u", 0.1f).set("v", 1e300).str() == R"({"t":0.2,"u":0.1,"v":1e+300})");
    CHECK(fluid::options().set("t", std::nan("")).set("u", -INFINITY).str() == R"({"t":null,"u":null})");
    for (const double number : {1.0 / 3, 0.1 + 0.2, 5e-324, -0.0, 1.7976931348623157e308, 123456789012345678.0}) {
        const std::string json = fluid::options().set("n", number).str();
        // Subnormal numbers are out of a stream's range in some standard libraries.
        CHECK(number == 5e-324 || fluid::value(json)["n"].number(7) == number);
    }
    // A program's locale changes nothing.
    std::locale::global(std::locale(std::locale::classic(), new commas));
    CHECK(fluid::options().set("t", 1234.5).str() == R"({"t":1234.5})");
    CHECK(fluid::value(R"({"t":1234.5})")["t"].number() == 1234.5);
    std::locale::global(std::locale::classic());
}

CASE(requests_are_built) {
    fluid::request request;
    request.system("Be \"brief\".").user("Hi").set("max_tokens", 8).assistant("Hello.");
    request.message(fluid::object().set("role", "tool").set("content", "42").set("tool_call_id", "call_1"));
    CHECK(request.str() == R"({"max_tokens":8,"messages":[{"role":"system","content":"Be \"brief\"."},)"
                           R"({"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},)"
                           R"({"role":"tool","content":"42","tool_call_id":"call_1"}]})");
    CHECK(request.str() == request.str() && fluid::request(request).str() == request.str());
    // JSON text can be added to, and text that is none stays as it is.
    CHECK(fluid::request(" { \"prompt\": \"x\" } ").set("seed", 1).str() == R"({ "prompt": "x" ,"seed":1})");
    CHECK(fluid::request("{}").user("Hi").str() == R"({"messages":[{"role":"user","content":"Hi"}]})");
    CHECK(fluid::request("{").str() == "{" && fluid::request("[1]").str() == "[1]");
    CHECK(fluid::options("").str() == "{}" && fluid::options(" \n").set("n_ctx", 1).str() == R"({"n_ctx":1})");
    CHECK(fluid::request().user(fluid::raw{R"([{"type":"text","text":"Hi"}])"}).str() ==
          R"({"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]})");
}

CASE(messages_go_behind_those_of_a_field) {
    const std::string hi = R"({"role":"user","content":"Hi"})", said = R"({"role":"user","content":"[\"messages\":[]"})";
    const fluid::request saved = fluid::request(R"({"messages": [)" + said + R"( ], "seed": 1})");
    CHECK(fluid::request(saved).user("Hi").str() == R"({"messages": [)" + said + " ," + hi + R"(], "seed": 1})");
    CHECK(fluid::request(R"({"messages": []})").user("Hi").str() == R"({"messages": [)" + hi + "]}");
    const std::string history = "[" + said + "]";
    fluid::request later = fluid::request().user("Hi").set("messages", 7);
    later.set("messages", fluid::raw{history}); // the last counts
    CHECK(later.str() == R"({"messages":7,"messages":[)" + said + "," + hi + "]}" && later.str() == later.str());
    CHECK(fluid::request(R"({"messages":null})").user("Hi").str() == R"({"messages":null,"messages":[)" + hi + "]}");
    for (const char *const broken : {"[1]", "{", "{\"messages\":[}", "{\"messages\":]}", "{\"messages\":[", "\"messages\":[1]"}) {
        CHECK(!fluid::request(broken).user("Hi").str().empty()); // for the library to refuse
    }
}

CASE(json_is_read) {
    const std::string json = R"( {"a": [1, {"b": "x\"]}"}, [], null], "c\u0064": -2.5e3, "e": true, "f": {"g": {"h": "deep"}},)"
                             R"( "text": "\u00e4\u20ac\ud83d\ude00\n\/\\"} )";
    const fluid::value value(json);
    CHECK(value["a"].items().size() == 4 && value["a"][0].number() == 1 && value["a"][1]["b"].text() == "x\"]}");
    CHECK(value["a"][2].items().empty() && value["a"][3].json() == "null" && !value["a"][4] && !value["a"]["b"]);
    CHECK(value["cd"].number() == -2500 && value["e"].boolean() && value["f"]["g"]["h"].text() == "deep");
    CHECK(value["text"].text() == "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n/\\");
    CHECK(!value["missing"]["more"][3] && value["missing"].text("none") == "none" && value["missing"].number(7) == 7);
    CHECK(value["e"].text("no text") == "no text" && value["text"].number(7) == 7 && !value["text"].boolean());
}

CASE(halves_of_pairs_are_no_characters) {
    const auto text = [](const char *json) { return fluid::value(json).text(); };
    CHECK(text(R"("\ud83d abcdef")") == "\xef\xbf\xbd abcdef" && text(R"("\ude00\ud83d")") == "\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(text(R"("\ud83d\ud83d\ude00")") == "\xef\xbf\xbd\xf0\x9f\x98\x80" && text(R"("\ud83d\u0041bc")") == "\xef\xbf\xbd" "Abc");
    CHECK(text(R"("\ud83d\n\tde00")") == "\xef\xbf\xbd\n\tde00");
}

// Nothing points into a temporary that is gone; the sanitizer watches.
CASE(parts_of_temporaries_live) {
    const auto json = [] { return std::string(R"({"data": [{"name": "a name of some length"}, {"name": "b"}]})"); };
    std::string names;
    for (const fluid::value &each : fluid::value(json())["data"].items()) {
        names += each["name"].text();
    }
    fluid::value whole(json());
    const fluid::value first = whole["data"][0]["name"];
    whole = fluid::value();
    CHECK(names == "a name of some lengthb" && first.text() == "a name of some length" && first.json().size() == 23);

    const auto answer = [] {
        return fluid::detail::answer_of(R"({"choices":[{"message":{"content":"a text of some length","reasoning_content":"why",)"
                                        R"("tool_calls":[{"id":"call_1"}]},"finish_reason":"stop"}]})");
    };
    const std::string &text = answer().text(), &reasoning = answer().reasoning(), &reason = answer().finish_reason();
    CHECK(text == "a text of some length" && reasoning == "why" && reason == "stop");
    for (const fluid::tool_call &call : answer().tool_calls()) {
        names += call.id;
    }
    const auto vectors = [] { return fluid::embeddings{{1, 2, 3, 4}, 2, {}, true}; };
    float sum = 0;
    for (const float number : vectors()[1]) {
        sum += number;
    }
    CHECK(names == "a name of some lengthbcall_1" && sum == 7);

    const auto numbers = [] { return fluid::result<std::vector<int>>(std::vector<int>{1, 2, 3}); };
    int count = 0;
    for (const int number : numbers().value()) {
        count += number;
    }
    for (const int number : *numbers()) {
        count += number;
    }
    const fluid::failure &why = fluid::result<int>(fluid::failure{FLUID_ERROR_IO, "a message of some length", {}}).error();
    CHECK(count == 12 && why.message == "a message of some length");
}

CASE(transcripts_are_what_their_body_says) {
    using fluid::detail::transcript_of;
    const fluid::segment one{0, 1, " One.", -0.5f, "{}"}, two{1, 2, " Two. ", -0.5f, "{}"};
    // A queue had the second segment.
    CHECK(transcript_of(R"({"text":"One. Two."})", {one}, "en").text() == "One. Two.");
    const fluid::transcript whole = transcript_of(
        R"({"text":"One. Two.","language_code":"de","segments":[{"text":" One."},{"text":" Two."}]})", {one}, "");
    CHECK(whole.segments.size() == 2 && whole.segments[1].text == " Two." && whole.language == "de");
    const fluid::transcript subtitles = transcript_of("1\n00:00", {one, two}, "en");
    CHECK(subtitles.text() == "One. Two." && subtitles.segments.size() == 2 && subtitles.language == "en");
    CHECK(transcript_of("", {}, "").text().empty());
}

// Whatever it is given, it stays within it; the sanitizer watches.
CASE(broken_json_is_survived) {
    const std::string json = R"({"a":[1,{"b":"x\u00e4\ud83d\ude00\"\\"},[[]]],"c":{"d":-1.5e3}})";
    for (std::size_t length = 0; length <= json.size(); ++length) {
        for (const char garbage : {'\0', '"', '\\', '{', ']', ':', ',', '\xff'}) {
            const auto text = std::make_unique<std::string>(json.substr(0, length) + garbage);
            const fluid::value value(*text);
            for (const fluid::value &item : value["a"].items()) {
                item["b"].text();
            }
            value["c"]["d"].number();
            fluid::value(std::string_view(*text).substr(length / 2)).text();
        }
    }
}

CASE(results_hold_values_or_failures) {
    fluid::result<std::unique_ptr<int>> moved(std::make_unique<int>(7));
    CHECK(moved && **moved == 7 && *std::move(moved).value() == 7);
    const fluid::result<int> failed(fluid::failure{FLUID_ERROR_NOT_FOUND, "x.gguf is not there", {}});
    CHECK(!failed && failed.error().status == FLUID_ERROR_NOT_FOUND && failed.value_or(3) == 3);
    THROWS(failed.value(), fluid::not_found, FLUID_ERROR_NOT_FOUND, "x.gguf");
    THROWS(fluid::result<void>(fluid::failure{}).value(), fluid::error, FLUID_ERROR_INTERNAL, "");
    fluid::result<void>().value();
    const fluid::error error(fluid::failure{FLUID_DEADLINE, "late", "so far"});
    const fluid::error copy = error; // NOLINT: copies are part of it
    CHECK(std::string(copy.what()) == "FLUID_DEADLINE: late" && copy.partial() == "so far");
    CHECK(std::string(copy.name()) == "FLUID_DEADLINE" && std::is_nothrow_copy_constructible_v<fluid::cancelled>);
}

template <class Error>
static void is_thrown_for(std::initializer_list<fluid_status> statuses) {
    for (const fluid_status status : statuses) {
        THROWS(fluid::throw_failure({status, "why", {}}), Error, status, "why");
    }
}

CASE(each_status_has_its_type) {
    is_thrown_for<fluid::cancelled>({FLUID_CANCELLED});
    is_thrown_for<fluid::deadline_exceeded>({FLUID_DEADLINE});
    is_thrown_for<fluid::usage_error>({FLUID_ERROR_INVALID_ARGUMENT, FLUID_ERROR_INVALID_HANDLE, FLUID_ERROR_INVALID_UTF8});
    is_thrown_for<fluid::invalid_request>({FLUID_ERROR_INVALID_JSON, FLUID_ERROR_INVALID_REQUEST});
    is_thrown_for<fluid::unsupported>(
        {FLUID_ERROR_UNSUPPORTED, FLUID_ERROR_UNSUPPORTED_MODEL, FLUID_ERROR_UNSUPPORTED_CPU});
    is_thrown_for<fluid::context_overflow>({FLUID_ERROR_CONTEXT_OVERFLOW});
    is_thrown_for<fluid::not_found>({FLUID_ERROR_NOT_FOUND});
    is_thrown_for<fluid::io_error>({FLUID_ERROR_IO});
    is_thrown_for<fluid::disk_full>({FLUID_ERROR_DISK_FULL});
    is_thrown_for<fluid::invalid_file>({FLUID_ERROR_INVALID_MODEL, FLUID_ERROR_INVALID_AUDIO, FLUID_ERROR_INVALID_STATE});
    is_thrown_for<fluid::network_error>({FLUID_ERROR_NETWORK});
    is_thrown_for<fluid::access_denied>({FLUID_ERROR_ACCESS_DENIED});
    is_thrown_for<fluid::busy>({FLUID_ERROR_BUSY});
    is_thrown_for<fluid::queue_full>({FLUID_ERROR_QUEUE_FULL});
    is_thrown_for<fluid::out_of_memory>({FLUID_ERROR_OUT_OF_MEMORY});
    is_thrown_for<fluid::backend_error>({FLUID_ERROR_BACKEND});
    is_thrown_for<fluid::backend_missing>({FLUID_ERROR_BACKEND_MISSING});
    is_thrown_for<fluid::error>({FLUID_ERROR_CALLBACK, FLUID_ERROR_FORKED, FLUID_ERROR_INTERNAL, -12345});
}

CASE(times_are_bounded) {
    using namespace std::chrono_literals;
    using fluid::detail::timeout_ms;
    CHECK(timeout_ms(0s) == 0 && timeout_ms(-5s) == 0 && timeout_ms(1us) == 1 && timeout_ms(1500us) == 2);
    CHECK(timeout_ms(2s) == 2000 && timeout_ms(std::chrono::hours::max()) == 2147483647);
    CHECK(timeout_ms(std::chrono::hours::min()) == 0);
    CHECK(timeout_ms(std::chrono::duration<double>(std::nan(""))) == 0);
    using fluid::detail::deadline;
    const auto now = std::chrono::steady_clock::now();
    CHECK(deadline(std::chrono::hours::max()) > now + 24h * 36000 && deadline(1h) > now + 59min);
    CHECK(deadline(std::chrono::hours::min()) < now + 1min && deadline(-1h) >= now);
    CHECK(deadline(std::chrono::duration<double>(std::nan(""))) < now + 1min);
}

CASE(handles_move_and_do_not_copy) {
    CHECK(!std::is_copy_constructible_v<fluid::engine> && std::is_nothrow_move_constructible_v<fluid::engine>);
    CHECK(!std::is_copy_constructible_v<fluid::model> && std::is_nothrow_move_assignable_v<fluid::model>);
    CHECK(!std::is_copy_constructible_v<fluid::queue> && std::is_nothrow_move_constructible_v<fluid::queue>);
    CHECK(!std::is_copy_constructible_v<fluid::job> && std::is_move_assignable_v<fluid::job>);
    CHECK(!std::is_copy_constructible_v<fluid::text_stream> && std::is_move_constructible_v<fluid::text_stream>);
    CHECK((!std::is_convertible_v<fluid::options, fluid::request> && !std::is_convertible_v<int, fluid::request>));
}
