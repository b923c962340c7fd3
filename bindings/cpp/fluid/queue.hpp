// The events of many jobs, for one reader.
#ifndef FLUID_QUEUE_HPP
#define FLUID_QUEUE_HPP

#include <chrono>
#include <cstdint>
#include <optional>

#include "event.hpp"
#include "handle.hpp"
#include "reading.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// Jobs are attached to it with fluid::job::attach, and stay its own until either is closed; closed, its jobs go
// on. One thread at a time reads it and closes it; jobs may be attached by any thread meanwhile.
//
// There is no end of a queue, since jobs may still be attached: count the events of event_kind::end, and give each
// to its job's finish().
class queue {
public:
    struct item {
        // Which job: that whose handle() is the same.
        fluid_job *job;
        // Its texts are borrowed until the next one is asked for, or the queue or the job is closed.
        fluid::event event;
    };

    static result<queue> try_create() {
        fluid_queue *made = nullptr;
        const fluid_status status = fluid_queue_new(&made);
        return status < 0 ? result<queue>(detail::last_failure(status)) : result<queue>(queue(made));
    }
    // Takes over a handle of the C interface.
    explicit queue(fluid_queue *owned) noexcept : handle_(owned) {}

    // Waits for the next event of any of its jobs, or for a job. Nothing where its handle was freed meanwhile.
    result<std::optional<item>> try_next() { return read(-1); }
    // The same, and nothing also where none came in time. Zero only looks.
    template <class Rep, class Period>
    result<std::optional<item>> try_next_for(std::chrono::duration<Rep, Period> time) {
        return read(detail::timeout_ms(time));
    }
    void close() noexcept { handle_.close(); }

#ifndef FLUID_NO_EXCEPTIONS
    queue() : queue(try_create().value()) {}
    std::optional<item> next() { return try_next().value(); }
    template <class Rep, class Period>
    std::optional<item> next_for(std::chrono::duration<Rep, Period> time) {
        return try_next_for(time).value();
    }
#endif

    // Its handle in the C interface; null when closed.
    fluid_queue *handle() const noexcept { return handle_.get(); }
    // Gives the handle away, to be freed by fluid_queue_free.
    fluid_queue *release() noexcept { return handle_.release(); }

private:
    result<std::optional<item>> read(std::int32_t timeout) {
        fluid_job *job = nullptr;
        const fluid_event *event = nullptr;
        const fluid_status status = fluid_queue_next(handle_.get(), timeout, &job, &event);
        if (status < 0) {
            return detail::last_failure(status);
        }
        if (status != FLUID_OK) {
            return std::optional<item>();
        }
        return std::optional<item>(item{job, detail::event_of(*event)});
    }

    detail::handle<fluid_queue, fluid_queue_free> handle_;
};

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_QUEUE_HPP
