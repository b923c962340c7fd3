// Two threads write to one place: ThreadSanitizer, if it is really there, ends it with an error.

#include <thread>

static int place;

int main() {
    std::thread other([] { ++place; });
    ++place;
    other.join();
    return 0;
}
