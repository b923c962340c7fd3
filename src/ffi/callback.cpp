// Calls a host's callback so that a C++ exception it throws does not reach Rust.

#include <cstdint>

namespace {

// Kept in step with callback.rs.
enum : int32_t { GO_ON = 0, STOP = 1, THREW = 2 };

}  // namespace

extern "C" {

int32_t fluid_call_event(int32_t (*callback)(const void *, void *), const void * event, void * user_data) noexcept {
    try {
        return callback(event, user_data) == 0 ? GO_ON : STOP;
    } catch (...) {
        return THREW;
    }
}

void fluid_call_log(void (*callback)(int32_t, const char *, void *), int32_t level, const char * line,
                    void * user_data) noexcept {
    try {
        callback(level, line, user_data);
    } catch (...) {
        // A log line has nobody to tell.
    }
}

}  // extern "C"
