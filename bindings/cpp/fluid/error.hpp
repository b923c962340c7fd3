// How calls fail: fluid::failure as a value, fluid::error and its kin as exceptions.
#ifndef FLUID_ERROR_HPP
#define FLUID_ERROR_HPP

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "config.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// The name of a status, such as "FLUID_ERROR_NOT_FOUND". Static.
inline const char *status_name(fluid_status status) noexcept { return fluid_status_name(status); }

// Why a call or a job came to nothing, or to a part of what was asked.
struct failure {
    // Below 0 an error; or FLUID_CANCELLED, FLUID_DEADLINE.
    fluid_status status = FLUID_ERROR_INTERNAL;
    // One line that names the cause and, where a request is at fault, the path of the field.
    std::string message;
    // What came before the end: the text of the result as the finished job would have it (JSON, or
    // what the response_format asked for). Empty where there is none. It has no vectors: see fluid::job_of::try_partial.
    std::string partial;
};

namespace detail {

// On what the last call of this thread failed of; ask before another call is made.
inline failure last_failure(fluid_status status) { return {status, fluid_last_error(), {}}; }

} // namespace detail

#ifndef FLUID_NO_EXCEPTIONS

// The base of what this library's calls throw. Copies share their content.
class error : public std::exception {
public:
    explicit error(failure why) : content_(std::make_shared<const content>(std::move(why))) {}

    // "FLUID_ERROR_NOT_FOUND: ..."
    const char *what() const noexcept override { return content_->what.c_str(); }
    fluid_status status() const noexcept { return content_->why.status; }
    const char *name() const noexcept { return status_name(status()); }
    const std::string &message() const noexcept { return content_->why.message; }
    // As failure::partial.
    const std::string &partial() const noexcept { return content_->why.partial; }

private:
    struct content {
        explicit content(failure from)
            : why(std::move(from)),
              what(std::string(status_name(why.status)) + (why.message.empty() ? "" : ": ") + why.message) {}
        failure why;
        std::string what;
    };
    std::shared_ptr<const content> content_;
};

// One type for each way in which a caller can react. What has none of its own is a fluid::error:
// FLUID_ERROR_CALLBACK, FLUID_ERROR_FORKED, FLUID_ERROR_INTERNAL.

// The job was cancelled by something else than its callback; partial() has what came so far.
struct cancelled : error { using error::error; };
// `deadline_ms` passed; partial() has what came so far.
struct deadline_exceeded : error { using error::error; };
// Mend the call: a wrong argument, a handle that was closed or moved from, text that is not UTF-8.
struct usage_error : error { using error::error; };
// Mend the request or the options at the place named.
struct invalid_request : error { using error::error; };
// This build, this model or this processor cannot do it.
struct unsupported : error { using error::error; };
// The prompt does not fit: shorten it, or load with a larger `n_ctx`.
struct context_overflow : error { using error::error; };
// A file or a model is not there: check the name.
struct not_found : error { using error::error; };
// A file cannot be read or written: check permissions and the disk.
struct io_error : error { using error::error; };
// The disk has no room.
struct disk_full : error { using error::error; };
// A model, a recording or a saved state is damaged: fetch, convert or save it again.
struct invalid_file : error { using error::error; };
// The hub cannot be reached: try again later.
struct network_error : error { using error::error; };
// The hub wants a token, or another one.
struct access_denied : error { using error::error; };
// The call would wait for itself, or two threads read one job.
struct busy : error { using error::error; };
// Too many jobs wait for the model: try again when some have ended.
struct queue_full : error { using error::error; };
// Use a smaller model or context.
struct out_of_memory : error { using error::error; };
// The model library failed; the message holds its words.
struct backend_error : error { using error::error; };
// A runtime library is missing: install it, or name its path.
struct backend_missing : error { using error::error; };

// Throws `why` as the type for its status.
[[noreturn]] inline void throw_failure(failure why) {
    switch (why.status) {
    case FLUID_CANCELLED: throw cancelled(std::move(why));
    case FLUID_DEADLINE: throw deadline_exceeded(std::move(why));
    case FLUID_ERROR_INVALID_ARGUMENT:
    case FLUID_ERROR_INVALID_HANDLE:
    case FLUID_ERROR_INVALID_UTF8: throw usage_error(std::move(why));
    case FLUID_ERROR_INVALID_JSON:
    case FLUID_ERROR_INVALID_REQUEST: throw invalid_request(std::move(why));
    case FLUID_ERROR_UNSUPPORTED:
    case FLUID_ERROR_UNSUPPORTED_MODEL:
    case FLUID_ERROR_UNSUPPORTED_CPU: throw unsupported(std::move(why));
    case FLUID_ERROR_CONTEXT_OVERFLOW: throw context_overflow(std::move(why));
    case FLUID_ERROR_NOT_FOUND: throw not_found(std::move(why));
    case FLUID_ERROR_IO: throw io_error(std::move(why));
    case FLUID_ERROR_DISK_FULL: throw disk_full(std::move(why));
    case FLUID_ERROR_INVALID_MODEL:
    case FLUID_ERROR_INVALID_AUDIO:
    case FLUID_ERROR_INVALID_STATE: throw invalid_file(std::move(why));
    case FLUID_ERROR_NETWORK: throw network_error(std::move(why));
    case FLUID_ERROR_ACCESS_DENIED: throw access_denied(std::move(why));
    case FLUID_ERROR_BUSY: throw busy(std::move(why));
    case FLUID_ERROR_QUEUE_FULL: throw queue_full(std::move(why));
    case FLUID_ERROR_OUT_OF_MEMORY: throw out_of_memory(std::move(why));
    case FLUID_ERROR_BACKEND: throw backend_error(std::move(why));
    case FLUID_ERROR_BACKEND_MISSING: throw backend_missing(std::move(why));
    default: throw error(std::move(why));
    }
}

#endif // FLUID_NO_EXCEPTIONS

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_ERROR_HPP
