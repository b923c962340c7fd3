// The library as such: version, log, devices, doctor.
#ifndef FLUID_LIBRARY_HPP
#define FLUID_LIBRARY_HPP

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "arguments.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// Version of the library that is loaded, such as "0.1.0". Static.
inline const char *version() noexcept { return fluid_version(); }
// Version of its binary interface: the major number in the upper 16 bits, the minor one in the lower.
inline std::uint32_t abi_version() noexcept { return fluid_abi_version(); }

// Whether the library that is loaded is one that this program was compiled for: of the same major number, and of no
// smaller a minor one. Engines ask it when they are made.
inline result<void> try_check_abi() {
    constexpr std::uint32_t wanted = FLUID_ABI_VERSION;
    const std::uint32_t found = abi_version();
    if (found >> 16 == wanted >> 16 && (found & 0xffff) >= (wanted & 0xffff)) {
        return {};
    }
    const auto text = [](std::uint32_t version) {
        return std::to_string(version >> 16) + "." + std::to_string(version & 0xffff);
    };
    return failure{FLUID_ERROR_UNSUPPORTED,
                   std::string("libfluid ") + version() + " has the binary interface " + text(found) +
                       ", this program was compiled for " + text(wanted) +
                       ": install the libfluid that its fluid.h came with, or compile it again",
                   {}};
}

// How much a log line matters.
enum class log_level : fluid_log_level {
    error = FLUID_LOG_ERROR,
    warn = FLUID_LOG_WARN,
    info = FLUID_LOG_INFO,
    debug = FLUID_LOG_DEBUG,
};

// Called with each log line, on any thread, also on several at once. What it throws is dropped.
using log_function = std::function<void(log_level, std::string_view line)>;

namespace detail {

inline void log_line(fluid_log_level level, const char *line, void *user_data) noexcept {
    const log_function &function = *static_cast<log_function *>(user_data);
#ifdef FLUID_NO_EXCEPTIONS
    function(static_cast<log_level>(level), line);
#else
    try {
        function(static_cast<log_level>(level), line);
    } catch (...) {
    }
#endif
}

// The function in use; never destroyed, for threads may log while the program ends.
struct log_place {
    std::atomic<bool> is_being_set{false};
    std::unique_ptr<log_function> function;
};
inline log_place &the_log() {
    static log_place *const place = new log_place;
    return *place;
}

inline result<std::string> devices(fluid_engine *engine) {
    return ask({}, [engine](char **out) { return fluid_devices(engine, out); });
}
inline result<std::string> doctor(fluid_engine *engine, const options &with) {
    const std::string json = with.str();
    return ask({{json, "the options"}},
               [&](char **out) { return fluid_doctor(engine, c_text(json), out); });
}

} // namespace detail

// Has the log of the process, `level` and what matters more, go to `function`; an empty one makes it silent, as it is
// at first. Returns once all running calls of the one before have ended. FLUID_ERROR_BUSY from inside the
// function, and while another thread sets it.
inline result<void> try_set_log(log_function function, log_level level = log_level::info) {
    auto next = function ? std::make_unique<log_function>(std::move(function)) : nullptr;
    detail::log_place &place = detail::the_log();
    if (place.is_being_set.exchange(true)) {
        return failure{FLUID_ERROR_BUSY, "another thread sets the log", {}};
    }
    const fluid_status status =
        fluid_log_set(next ? detail::log_line : nullptr, next.get(), static_cast<fluid_log_level>(level));
    result<void> outcome = status < 0 ? result<void>(detail::last_failure(status)) : result<void>();
    if (outcome) {
        place.function = std::move(next);
    }
    place.is_being_set = false;
    return outcome;
}

// What models can run on, as JSON (fluid_devices).
inline result<std::string> try_devices() { return detail::devices(nullptr); }
// What an installation needs and has, as JSON (fluid_doctor).
inline result<std::string> try_doctor(const options &with = {}) { return detail::doctor(nullptr, with); }

#ifndef FLUID_NO_EXCEPTIONS
inline void check_abi() { try_check_abi().value(); }
inline void set_log(log_function function, log_level level = log_level::info) {
    try_set_log(std::move(function), level).value();
}
inline std::string devices() { return try_devices().value(); }
inline std::string doctor(const options &with = {}) { return try_doctor(with).value(); }
#endif

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_LIBRARY_HPP
