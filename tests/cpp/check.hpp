// What the C++ tests share: cases that enter themselves, checks that name their line, models that are loaded once.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "fluid.hpp"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                              \
            std::_Exit(1);                                                                                            \
        }                                                                                                             \
    } while (0)

// The statement throws `type`, which has `expected_status` and whose message holds `words`.
#define THROWS(statement, type, expected_status, words)                                                               \
    do {                                                                                                              \
        bool threw_ = false;                                                                                          \
        try {                                                                                                         \
            static_cast<void>(statement);                                                                             \
        } catch (const type &error_) {                                                                                \
            threw_ = true;                                                                                            \
            if (error_.status() != (expected_status) || error_.message().find(words) == std::string::npos) {          \
                std::fprintf(stderr, "%s:%d: threw %s\n", __FILE__, __LINE__, error_.what());                         \
                std::_Exit(1);                                                                                        \
            }                                                                                                         \
        }                                                                                                             \
        CHECK(threw_ && #type " from " #statement);                                                                   \
    } while (0)

namespace test {

struct entry {
    const char *name;
    void (*body)();
};
inline std::vector<entry> &entries() {
    static std::vector<entry> all;
    return all;
}
struct enter {
    enter(const char *name, void (*body)()) { entries().push_back({name, body}); }
};

// The files that the program was given.
struct paths {
    std::string smol, tiny, whisper, jfk, embedder, reranker;
};
inline paths files;

} // namespace test

#define CASE(name)                                                                                                    \
    static void name();                                                                                               \
    static const test::enter enter_##name(#name, name);                                                               \
    static void name()

// Tokens that end an answer, of SmolLM2 and of tiny_gguf.py, are not drawn.
#define NO_END R"("logit_bias":{"0":-100,"2":-100,"262":-100,"264":-100})"

#endif // CHECK_HPP
