// How events are waited for: times for the C interface, ranges.
#ifndef FLUID_READING_HPP
#define FLUID_READING_HPP

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "result.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {
namespace detail {

// `time`, but none where it is negative or not a number, and a century where it is longer: what every clock can add.
template <class Rep, class Period>
std::chrono::duration<double> bounded(std::chrono::duration<Rep, Period> time) {
    constexpr std::chrono::duration<double> a_century = std::chrono::hours(24 * 365 * 100);
    const std::chrono::duration<double> seconds(time);
    return !(seconds > seconds.zero()) ? seconds.zero() : seconds < a_century ? seconds : a_century;
}

// Milliseconds, rounded up; nothing below 0, which would wait for ever.
template <class Rep, class Period>
std::int32_t timeout_ms(std::chrono::duration<Rep, Period> time) {
    constexpr std::int32_t most = (std::numeric_limits<std::int32_t>::max)();
    const double ms = std::ceil(std::chrono::duration<double, std::milli>(bounded(time)).count());
    return ms < most ? static_cast<std::int32_t>(ms) : most;
}

// When `time` from now has passed.
template <class Rep, class Period>
std::chrono::steady_clock::time_point deadline(std::chrono::duration<Rep, Period> time) {
    using clock = std::chrono::steady_clock;
    return clock::now() + std::chrono::duration_cast<clock::duration>(bounded(time));
}

// What a loop goes on with: nothing after a failure, which is thrown where there are exceptions.
template <class T>
std::optional<T> value_or_end(result<std::optional<T>> found) {
#ifdef FLUID_NO_EXCEPTIONS
    return std::move(found).value_or(std::nullopt);
#else
    return std::move(found).value();
#endif
}

// Iterates over what `Source::pull` gives. Copies share their source, as those of std::istream_iterator do; what one
// points to holds until the next is asked for.
template <class Source>
class pull_iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = typename Source::item_type;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type *;
    using reference = const value_type &;

    pull_iterator() = default;
    explicit pull_iterator(Source &source) : source_(&source), item_(source.pull()) {}

    reference operator*() const noexcept { return *item_; }
    pointer operator->() const noexcept { return &*item_; }
    pull_iterator &operator++() {
        item_ = source_->pull();
        return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(const pull_iterator &one, const pull_iterator &other) noexcept {
        return one.item_.has_value() == other.item_.has_value();
    }
    friend bool operator!=(const pull_iterator &one, const pull_iterator &other) noexcept { return !(one == other); }

private:
    Source *source_ = nullptr;
    std::optional<value_type> item_;
};

} // namespace detail
} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_READING_HPP
