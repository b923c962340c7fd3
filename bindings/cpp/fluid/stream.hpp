// Answers as ranges of texts, transcripts as ranges of segments; under C++23 also as std::generator.
#ifndef FLUID_STREAM_HPP
#define FLUID_STREAM_HPP

#include <optional>
#include <string_view>
#include <utility>

#include "job_of.hpp"

#ifdef __cpp_lib_generator
#include <generator>
#endif

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// for (std::string_view text : model.stream(request)): the items of a job as they come. Leaving the loop early
// leaves the job running; closing or destroying the stream cancels it.
//
// The loop throws where the job fails, is cancelled, or passes its deadline; without exceptions it ends, and
// try_get() tells. An item is borrowed until the next one. One thread at a time reads it and closes it.
template <class Item, class Result>
class stream {
public:
    using item_type = Item;
    using iterator = detail::pull_iterator<stream>;

    explicit stream(job_of<Result> source) noexcept : job_(std::move(source)) {}

    iterator begin() { return iterator(*this); }
    iterator end() noexcept { return {}; }
    // The next item, or nothing after the last one.
    result<std::optional<Item>> try_next();
    std::optional<Item> pull() { return detail::value_or_end(try_next()); }

    // The whole result, once the loop is through; what is still to come is waited for.
    result<Result> try_get() { return job_.try_get(); }
#ifndef FLUID_NO_EXCEPTIONS
    std::optional<Item> next() { return try_next().value(); }
    Result get() { return try_get().value(); }
#endif

    // Asks the job to stop. Any thread, at any time.
    void cancel() const noexcept { job_.cancel(); }
    // Cancels and frees it; once or more often.
    void close() noexcept { job_.close(); }

private:
    job_of<Result> job_;
};

// The text of an answer, piece by piece; of all choices, where a request asks for several.
using text_stream = stream<std::string_view, answer>;
// What was said, as soon as it is decided.
using segment_stream = stream<segment, transcript>;

namespace detail {

inline void read_item(const event &from, std::optional<std::string_view> &to) {
    if (from.kind == event_kind::token && !from.text.empty()) {
        to = from.text;
    }
}

inline void read_item(const event &from, std::optional<segment> &to) {
    if (from.kind == event_kind::segment) {
        to = segment_of(from);
    }
}

template <class Item, class Result>
result<stream<Item, Result>> stream_of(result<job_of<Result>> started) {
    return started ? result<stream<Item, Result>>(stream<Item, Result>(*std::move(started)))
                   : result<stream<Item, Result>>(std::move(started).error());
}

} // namespace detail

template <class Item, class Result>
result<std::optional<Item>> stream<Item, Result>::try_next() {
    std::optional<Item> item;
    while (!item && !job_.done()) {
        const result<std::optional<event>> found = job_.try_next();
        if (!found) {
            return found.error();
        }
        if (*found) {
            detail::read_item(**found, item);
        }
    }
    if (!item && job_.status() != FLUID_OK) {
        return job_.why_not_whole();
    }
    return item;
}

#ifdef __cpp_lib_generator
// The same as generators, which own what they read: destroying one cancels its job.
template <class Item, class Result>
std::generator<Item> generator(stream<Item, Result> source) {
    for (const Item &item : source) {
        co_yield item;
    }
}
// The events of a job.
inline std::generator<event> generator(job source) {
    for (const event &what : source) {
        co_yield what;
    }
}
#endif

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_STREAM_HPP
