// What happens in a job, and who is told.
#ifndef FLUID_EVENT_HPP
#define FLUID_EVENT_HPP

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "config.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// What an event tells; fluid.h has more on each. Skip kinds you do not know.
enum class event_kind : fluid_event_kind {
    progress = FLUID_EVENT_PROGRESS,
    token = FLUID_EVENT_TOKEN,
    segment = FLUID_EVENT_SEGMENT,
    language = FLUID_EVENT_LANGUAGE,
    notice = FLUID_EVENT_NOTICE,
    reasoning = FLUID_EVENT_REASONING,
    tool_call = FLUID_EVENT_TOOL_CALL,
    model = FLUID_EVENT_MODEL,
    end = FLUID_EVENT_END,
};

// One thing that happened in a job. Its texts are borrowed: until the next event of the job or queue is asked
// for, or until the callback returns.
struct event {
    event_kind kind;
    // How the job ended, in its final event; else FLUID_OK.
    fluid_status status;
    // Index of the choice, where a request asks for several.
    int choice;
    // Id of the token, or -1.
    int token;
    // Log-probability of the token, NaN where it was not asked for; of a segment the average of its tokens.
    float logprob;
    // Whole, valid UTF-8. In the final event of a job that failed, the error's message.
    std::string_view text;
    // JSON, or empty.
    std::string_view json;
    // Of a segment, in seconds.
    double start;
    double end;
    // From 0 to 1, in a progress event.
    double progress;
    // Seconds from the start of the job to what the event tells.
    double elapsed;
    // Seconds from what the event tells to when it was read.
    double age;
};

// A stretch of speech.
struct segment {
    // Seconds from the start of the recording.
    double start;
    double end;
    std::string text;
    // The average log-probability of its tokens.
    float logprob;
    // As in OpenAI's "verbose_json", with words where they were asked for.
    std::string json;
};

// For calls without a callback.
struct no_callback {
    void operator()(const event &) const noexcept {}
};

namespace detail {

inline event event_of(const fluid_event &from) {
    return {static_cast<event_kind>(from.kind),
            from.status,
            from.choice,
            from.token,
            from.logprob,
            {from.text, from.text_len},
            {from.json, from.json_len},
            from.start,
            from.end,
            from.progress,
            from.elapsed,
            from.age};
}

inline segment segment_of(const event &from) {
    return {from.start, from.end, std::string(from.text), from.logprob, std::string(from.json)};
}

// What `callback` returns, where it returns something; else true.
template <class Callback, class Argument>
bool goes_on(Callback &callback, const Argument &argument) {
    using returned = std::invoke_result_t<Callback &, const Argument &>;
    // A number would be taken for the opposite of what it says in C.
    static_assert(std::is_void_v<returned> || std::is_same_v<returned, bool>,
                  "a callback returns nothing, or a bool: whether to go on");
    if constexpr (std::is_void_v<returned>) {
        callback(argument);
        return true;
    } else {
        return callback(argument);
    }
}

// Tells `callback` what it takes: events, segments of speech, texts of tokens (none comes while a model reads its
// prompt or reasons), or progress. False: it wants no more.
template <class Callback>
bool tell(Callback &callback, const event &what) {
    if constexpr (std::is_invocable_v<Callback &, const event &>) {
        return goes_on(callback, what);
    } else if constexpr (std::is_invocable_v<Callback &, const segment &>) {
        return what.kind != event_kind::segment || goes_on(callback, segment_of(what));
    } else if constexpr (std::is_invocable_v<Callback &, const std::string_view &>) {
        return what.kind != event_kind::token || what.text.empty() || goes_on(callback, what.text);
    } else {
        static_assert(std::is_invocable_v<Callback &, const double &>,
                      "a callback takes const fluid::event &, const fluid::segment &, std::string_view (the text of "
                      "an answer, as it comes) or double (progress, from 0 to 1)");
        return what.kind != event_kind::progress || goes_on(callback, what.progress);
    }
}

} // namespace detail

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_EVENT_HPP
