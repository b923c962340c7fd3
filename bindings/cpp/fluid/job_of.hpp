// Jobs with a result.
#ifndef FLUID_JOB_OF_HPP
#define FLUID_JOB_OF_HPP

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "job.hpp"
#include "results.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

namespace detail {

template <class T, class = void>
constexpr bool can_be_partial = false;
template <class T>
constexpr bool can_be_partial<T, std::void_t<decltype(T::is_whole)>> = true;

} // namespace detail

// A job whose result is a T: fluid::model, answer, transcript, embeddings, ranking; or std::string, which is JSON.
template <class T>
class job_of : public job {
public:
    using job::job;

    // Waits for the end. A job that failed, was cancelled, or whose deadline passed is a failure, which has what
    // came so far. The model of a load can be had once.
    result<T> try_get() { return try_get(no_callback()); }

    // The same, and tells what comes, on this thread: `on_event` takes const fluid::event &, const fluid::segment &,
    // std::string_view (the text of an answer, piece by piece; nothing while the model reasons) or double (progress, from 0 to 1), and returns nothing or
    // whether to go on. When it does not go on, the job is stopped: what came so far is the result, or FLUID_CANCELLED
    // where a part is of no use, as of a load. An exception that it throws leaves this call as it is, in the
    // try_ forms too; the job then goes on until it is closed. `stop` cancels the job from any thread, at any time.
    template <class Callback>
    result<T> try_get(Callback &&on_event, const stop_token &stop = {});

    // The result of a job whose final event, `final`, a queue delivered. Of a transcript its body alone is read: ask
    // for "verbose_json" where segments are wanted, or take them from the queue's events.
    result<T> try_finish(const event &final) {
        if (final.kind != event_kind::end) {
            return failure{FLUID_ERROR_INVALID_ARGUMENT, "final: is no final event", {}};
        }
        set_end(final);
        return conclude(false);
    }

    // What came so far of an answer, a transcript, vectors or a ranking, once get() or finish() has failed by
    // FLUID_CANCELLED or FLUID_DEADLINE: with `is_whole` false.
    result<T> try_partial();

#ifndef FLUID_NO_EXCEPTIONS
    T get() { return try_get().value(); }
    template <class Callback>
    T get(Callback &&on_event, const stop_token &stop = {}) {
        return try_get(std::forward<Callback>(on_event), stop).value();
    }
    T finish(const event &final) { return try_finish(final).value(); }
    T partial() { return try_partial().value(); }
#endif

private:
    // Of a job that has ended.
    result<T> conclude(bool was_stopped);
    // Its result, whole or not.
    result<T> take();
};

template <class T>
template <class Callback>
result<T> job_of<T>::try_get(Callback &&on_event, const stop_token &stop) {
#ifdef __cpp_lib_jthread
    const std::stop_callback cancel_when_asked(stop, [this] { cancel(); });
#else
    static_cast<void>(stop);
#endif
    bool was_stopped = false;
    while (!done()) {
        const result<std::optional<event>> found = try_next();
        if (!found) {
            return found.error();
        }
        // What is said to the final event stops nothing.
        if (*found && !was_stopped && !detail::tell(on_event, **found) && !done()) {
            was_stopped = true;
            cancel();
        }
    }
    return conclude(was_stopped);
}

template <class T>
result<T> job_of<T>::try_partial() {
    static_assert(detail::can_be_partial<T>, "of this act there is no part that is of use");
    if (!done()) {
        return failure{FLUID_ERROR_BUSY, "the job's final event was not read", {}};
    }
    result<T> part = take();
    if (part) {
        part->is_whole = status() == FLUID_OK;
    }
    return part;
}

template <class T>
result<T> job_of<T>::conclude(bool was_stopped) {
    if constexpr (detail::can_be_partial<T>) {
        if (was_stopped && status() == FLUID_CANCELLED) {
            return try_partial();
        }
    }
    return status() == FLUID_OK ? take() : result<T>(why_not_whole());
}

namespace detail {

// Calls `function(fluid_job **)`, which returns a status and starts a job, if `texts` can be given to it.
template <class T, class Function>
result<job_of<T>> start(std::initializer_list<named_text> texts, Function &&function) {
    const result<void> fine = check_texts(texts);
    if (!fine) {
        return fine.error();
    }
    fluid_job *made = nullptr;
    const fluid_status status = function(&made);
    if (status < 0) {
        return last_failure(status);
    }
    return job_of<T>(made);
}

template <class T, class Callback>
result<T> run(result<job_of<T>> started, Callback &on_event, const stop_token &stop) {
    return started ? started->try_get(on_event, stop) : result<T>(std::move(started).error());
}

} // namespace detail

template <>
inline result<std::string> job_of<std::string>::take() {
    const result<std::string_view> text = try_text();
    return text ? result<std::string>(std::string(*text)) : result<std::string>(text.error());
}

template <>
inline result<answer> job_of<answer>::take() {
    const result<std::string_view> json = try_text();
    return json ? result<answer>(detail::answer_of(std::string(*json))) : result<answer>(json.error());
}

template <>
inline result<transcript> job_of<transcript>::take() {
    const result<std::string_view> body = try_text();
    if (!body) {
        return body.error();
    }
    return detail::transcript_of(std::string(*body), segments(), language());
}

template <>
inline result<embeddings> job_of<embeddings>::take() {
    const result<std::string_view> json = try_text();
    if (!json) {
        return json.error();
    }
    const float *data = nullptr;
    std::size_t count = 0, dimensions = 0;
    const fluid_status status = fluid_job_floats(handle(), &data, &count, &dimensions);
    if (status < 0) {
        return detail::last_failure(status);
    }
    return embeddings{std::vector<float>(data, data + count * dimensions), dimensions, std::string(*json)};
}

template <>
inline result<ranking> job_of<ranking>::take() {
    const result<std::string_view> json = try_text();
    return json ? result<ranking>(detail::ranking_of(std::string(*json))) : result<ranking>(json.error());
}

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_JOB_OF_HPP
