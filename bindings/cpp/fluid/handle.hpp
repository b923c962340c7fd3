// Who owns a handle of the library.
#ifndef FLUID_HANDLE_HPP
#define FLUID_HANDLE_HPP

#include <atomic>

#include "config.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {
namespace detail {

// Owns a handle, which `Free` frees. It may be closed while other threads use it: the library tells stale handles, and
// their calls return. Moving and destroying are for one thread alone, as ever.
template <class C, fluid_status (*Free)(C *)>
class handle {
public:
    explicit handle(C *owned = nullptr) noexcept : owned_(owned) {}
    ~handle() { close(); }
    handle(handle &&other) noexcept : owned_(other.release()) {}
    handle &operator=(handle &&other) noexcept {
        if (this != &other) {
            close();
            owned_ = other.release();
        }
        return *this;
    }

    // Null after close(), release() and a move.
    C *get() const noexcept { return owned_.load(std::memory_order_acquire); }
    C *release() noexcept { return owned_.exchange(nullptr, std::memory_order_acq_rel); }
    void close() noexcept { Free(release()); }

private:
    std::atomic<C *> owned_;
};

} // namespace detail
} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_HANDLE_HPP
