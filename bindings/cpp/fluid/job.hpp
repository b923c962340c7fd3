// Jobs: events, waiting, cancelling. What a job comes to is in job_of.hpp.
#ifndef FLUID_JOB_HPP
#define FLUID_JOB_HPP

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event.hpp"
#include "handle.hpp"
#include "queue.hpp"
#include "reading.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

template <class Item, class Result>
class stream;

// A long act. Its destructor cancels it, if it runs, and waits for nothing.
//
// One thread at a time reads it and closes it; any thread may call cancel() meanwhile. It may outlive its model and its
// engine; closing those cancels it.
class job {
public:
    using item_type = event;
    using iterator = detail::pull_iterator<job>;

    // Takes over a handle of the C interface.
    explicit job(fluid_job *owned) noexcept : handle_(owned) {}

    // Waits for the next event; the last one is event_kind::end. After it: nothing, or the failure of a job that
    // failed.
    result<std::optional<event>> try_next() { return read(-1); }
    // The same, and nothing also where none came in time; done() tells which. Zero only looks.
    template <class Rep, class Period>
    result<std::optional<event>> try_next_for(std::chrono::duration<Rep, Period> time) {
        return read(detail::timeout_ms(time));
    }
    // Reads events, and drops them, until the job has ended.
    result<void> try_wait() {
        result<bool> ended = wait_until((std::chrono::steady_clock::time_point::max)());
        return ended ? result<void>() : result<void>(std::move(ended).error());
    }
    // ... or the time has passed; whether it has ended.
    template <class Rep, class Period>
    result<bool> try_wait_for(std::chrono::duration<Rep, Period> time) {
        return wait_until(detail::deadline(time));
    }

    // Whether the final event was read, and the status in it.
    bool done() const noexcept { return end_.has_value(); }
    std::optional<fluid_status> status() const noexcept {
        return end_ ? std::optional<fluid_status>(end_->status) : std::nullopt;
    }

    // Asks it to stop; its final event comes as ever. Any thread, at any time.
    void cancel() const noexcept { fluid_job_cancel(handle_.get()); }
    // Cancels and frees it, with the texts of its events; once or more often.
    void close() noexcept { handle_.close(); }

    // Has `to` deliver its events, those that wait included.
    result<void> try_attach(const queue &to) const {
        const fluid_status status = fluid_job_attach(handle_.get(), to.handle());
        return status < 0 ? result<void>(detail::last_failure(status)) : result<void>();
    }
    // The text of its result, when it has ended, however it ended; borrowed until it is closed.
    result<std::string_view> try_text() const {
        const char *text = nullptr;
        const fluid_status status = fluid_job_json(handle_.get(), &text);
        if (status < 0) {
            return detail::last_failure(status);
        }
        return std::string_view(text);
    }

#ifndef FLUID_NO_EXCEPTIONS
    std::optional<event> next() { return try_next().value(); }
    template <class Rep, class Period>
    std::optional<event> next_for(std::chrono::duration<Rep, Period> time) {
        return try_next_for(time).value();
    }
    void wait() { try_wait().value(); }
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> time) {
        return try_wait_for(time).value();
    }
    void attach(const queue &to) const { try_attach(to).value(); }
    std::string_view text() const { return try_text().value(); }
#endif

    // for (const fluid::event &event : job): up to the final event, which tells how it ended; a job that failed then
    // throws what went wrong. Without exceptions the loop just ends.
    iterator begin() { return iterator(*this); }
    iterator end() noexcept { return {}; }
    // What the range asks for.
    std::optional<event> pull() { return detail::value_or_end(try_next()); }

    // Its handle in the C interface; null when closed.
    fluid_job *handle() const noexcept { return handle_.get(); }
    // Gives the handle away, to be freed by fluid_job_free.
    fluid_job *release() noexcept { return handle_.release(); }

protected:
    void set_end(const event &final) { end_ = ending{final.status, std::string(final.text)}; }
    const std::vector<segment> &segments() const noexcept { return segments_; }
    const std::string &language() const noexcept { return language_; }

    // Of a job that has ended with another status than FLUID_OK: why, and what came so far.
    failure why_not_whole() const {
        const std::string_view text = try_text().value_or(std::string_view());
        return {end_->status, end_->message, std::string(text == "{}" ? std::string_view() : text)};
    }

private:
    template <class Item, class Result>
    friend class stream;

    result<std::optional<event>> read(std::int32_t timeout);
    result<std::optional<event>> read_past_end() const;
    result<bool> wait_until(std::chrono::steady_clock::time_point time);
    void note(const event &what);

    struct ending {
        fluid_status status;
        std::string message;
    };

    detail::handle<fluid_job, fluid_job_free> handle_;
    std::optional<ending> end_;
    // What the text of a result does not have in every form.
    std::vector<segment> segments_;
    std::string language_;
};

inline result<std::optional<event>> job::read(std::int32_t timeout) {
    const fluid_event *found = nullptr;
    const fluid_status status = fluid_job_next(handle_.get(), timeout, &found);
    switch (status) {
    case FLUID_OK: {
        const event what = detail::event_of(*found);
        note(what);
        return std::optional<event>(what);
    }
    case FLUID_TIMEOUT: return std::optional<event>();
    case FLUID_END: return read_past_end();
    case FLUID_CANCELLED: // freed through its handle meanwhile
        end_ = ending{FLUID_CANCELLED, "the job was closed"};
        return std::optional<event>();
    default: return detail::last_failure(status);
    }
}

inline result<std::optional<event>> job::read_past_end() const {
    if (!end_) {
        return failure{FLUID_ERROR_INVALID_ARGUMENT, "a queue delivered the final event: give it to finish()", {}};
    }
    if (end_->status < 0) {
        return why_not_whole();
    }
    return std::optional<event>();
}

inline void job::note(const event &what) {
    if (what.kind == event_kind::end) {
        set_end(what);
    } else if (what.kind == event_kind::segment) {
        segments_.push_back(detail::segment_of(what));
    } else if (what.kind == event_kind::language) {
        language_ = what.text;
    }
}

inline result<bool> job::wait_until(std::chrono::steady_clock::time_point time) {
    while (!done()) {
        const auto left = time - std::chrono::steady_clock::now();
        const result<std::optional<event>> found = try_next_for(left);
        if (!found) {
            return found.error();
        }
        if (!*found && left <= left.zero()) {
            break;
        }
    }
    return done();
}

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_JOB_HPP
