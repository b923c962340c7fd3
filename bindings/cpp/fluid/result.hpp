// fluid::result<T>: what the forms called try_... return.
#ifndef FLUID_RESULT_HPP
#define FLUID_RESULT_HPP

#include <cstdlib>
#include <optional>
#include <utility>
#include <variant>

#include "error.hpp"

#ifdef __cpp_lib_expected
#include <expected>
#endif

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

namespace detail {

[[noreturn]] inline void give_up(failure why) {
#ifdef FLUID_NO_EXCEPTIONS
    static_cast<void>(why);
    std::abort();
#else
    throw_failure(std::move(why));
#endif
}

} // namespace detail

// A T, or why there is none. It has the accessors of std::expected<T, fluid::failure>, and becomes one under
// C++23: std::expected<T, fluid::failure> e = ..., with the `=`. It is a type of its own, so that code of several
// standards can be linked together. A temporary gives values out, not references into itself, for loops such as
// for (std::string_view text : model.try_stream(request).value()).
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;
    using error_type = failure;

    result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    result(failure why) : content_(std::in_place_index<1>, std::move(why)) {}

    bool has_value() const noexcept { return content_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    // Only where has_value(); else the program ends.
    T &operator*() & noexcept { return std::get<0>(content_); }
    const T &operator*() const & noexcept { return std::get<0>(content_); }
    T operator*() && noexcept { return std::get<0>(std::move(content_)); }
    T *operator->() noexcept { return &**this; }
    const T *operator->() const noexcept { return &**this; }

    // Only where not has_value(); else the program ends.
    failure &error() & noexcept { return std::get<1>(content_); }
    const failure &error() const & noexcept { return std::get<1>(content_); }
    failure error() && noexcept { return std::get<1>(std::move(content_)); }

    // The value; where there is none, throws what the other form of the call throws, and aborts where
    // there are no exceptions.
    T &value() & {
        check();
        return **this;
    }
    const T &value() const & {
        check();
        return **this;
    }
    T value() && {
        check();
        return *std::move(*this);
    }

    template <class U>
    T value_or(U &&otherwise) && {
        return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(otherwise));
    }
    template <class U>
    T value_or(U &&otherwise) const & {
        return has_value() ? **this : static_cast<T>(std::forward<U>(otherwise));
    }

#ifdef __cpp_lib_expected
    operator std::expected<T, failure>() && {
        if (!has_value()) {
            return std::unexpected(std::move(*this).error());
        }
        return *std::move(*this);
    }
#endif

private:
    void check() const {
        if (!has_value()) {
            detail::give_up(error());
        }
    }

    std::variant<T, failure> content_;
};

// Success, or why not.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;
    using error_type = failure;

    result() = default;
    result(failure why) : failure_(std::move(why)) {}

    bool has_value() const noexcept { return !failure_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    // Only where not has_value().
    const failure &error() const & noexcept { return *failure_; }
    failure error() && noexcept { return *std::move(failure_); }

    void value() const {
        if (failure_) {
            detail::give_up(*failure_);
        }
    }

#ifdef __cpp_lib_expected
    operator std::expected<void, failure>() && {
        if (!has_value()) {
            return std::unexpected(std::move(*this).error());
        }
        return {};
    }
#endif

private:
    std::optional<failure> failure_;
};

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_RESULT_HPP
