// From C++: exceptions that a host's callbacks throw, and its terminate handler.
//
//     test_cpp MODEL

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "fluid.h"

namespace {

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            std::fprintf(stderr, "%s:%d: not so: %s (last error: \"%s\")\n", __FILE__,    \
                         __LINE__, #condition, fluid_last_error());                       \
            std::_Exit(1);                                                                \
        }                                                                                 \
    } while (0)

constexpr const char * REQUEST = "{\"prompt\": \"hello\", \"max_tokens\": 20, \"logit_bias\": {\"0\": -100, \"2\": -100, "
                                 "\"262\": -100, \"264\": -100}}";
constexpr const char * LOAD    = "{\"n_ctx\": 256, \"n_parallel\": 1, \"n_threads\": 1}";

void own_terminate_handler() {
    std::abort();
}

struct thrower {
    int  calls = 0;
    int  at    = 1;       // the call at which to throw
    int  what  = 0;       // which type
};

int32_t throws(const fluid_event *, void * user_data) {
    auto * self = static_cast<thrower *>(user_data);
    if (++self->calls == self->at) {
        switch (self->what) {
            case 0: throw std::runtime_error("from a callback");
            case 1: throw 7;
            case 2: throw std::bad_alloc();
            default: throw std::string("not an exception");
        }
    }
    return 0;
}

void exceptions(fluid_engine * engine, const char * path) {
    fluid_model * model = nullptr;
    CHECK(fluid_load_model(engine, path, LOAD, nullptr, nullptr, &model) == FLUID_OK);
    for (int what = 0; what < 4; what++) {
        thrower self;
        self.what     = what;
        self.at       = what + 1;
        char   kept   = 0;
        char * json   = &kept;
        CHECK(fluid_generate(model, REQUEST, throws, &self, &json) == FLUID_ERROR_CALLBACK);
        CHECK(self.calls == self.at && json == &kept && std::strstr(fluid_last_error(), "exception") != nullptr);
        CHECK(fluid_generate(model, REQUEST, nullptr, nullptr, nullptr) == FLUID_OK);
    }
    thrower       self;
    fluid_model * none = nullptr;
    CHECK(fluid_load_model(engine, path, LOAD, throws, &self, &none) == FLUID_ERROR_CALLBACK);
    CHECK(none == nullptr && self.calls == 1);
    CHECK(fluid_model_free(model) == FLUID_OK);
}

// Thrown and caught inside a callback is nobody else's business.
int32_t catches(const fluid_event *, void * user_data) {
    try {
        throw std::runtime_error("inside");
    } catch (const std::exception &) {
        ++*static_cast<int *>(user_data);
    }
    return 0;
}

void log_throws(fluid_log_level, const char * line, void * user_data) {
    ++*static_cast<int *>(user_data);
    throw std::runtime_error(line);
}

void throwing_log(fluid_engine * engine, const char * path) {
    int           lines = 0, calls = 0;
    fluid_model * model = nullptr;
    CHECK(fluid_log_set(log_throws, &lines, FLUID_LOG_DEBUG) == FLUID_OK);
    CHECK(fluid_load_model(engine, path, LOAD, nullptr, nullptr, &model) == FLUID_OK);
    CHECK(fluid_generate(model, REQUEST, catches, &calls, nullptr) == FLUID_OK);
    CHECK(fluid_model_free(model) == FLUID_OK);
    CHECK(fluid_log_set(nullptr, nullptr, FLUID_LOG_DEBUG) == FLUID_OK);
    CHECK(lines > 20 && calls > 20);
}

// Static objects of the host that use the library to the very end.
struct late {
    fluid_engine * engine = nullptr;
    ~late() { fluid_engine_free(engine); }
} late_engine;

}  // namespace

int main(int argc, char ** argv) {
    CHECK(argc > 1);
    const std::terminate_handler at_start = std::get_terminate();
    std::set_terminate(own_terminate_handler);
    fluid_engine * engine = nullptr;
    CHECK(fluid_engine_new(nullptr, &engine) == FLUID_OK);
    CHECK(fluid_engine_new(nullptr, &late_engine.engine) == FLUID_OK);
    exceptions(engine, argv[1]);
    CHECK(std::get_terminate() == own_terminate_handler);  // set before the first load
    std::set_terminate(at_start);
    throwing_log(engine, argv[1]);
    CHECK(std::get_terminate() == at_start);
    fluid_model * model = nullptr;
    fluid_job *   job   = nullptr;
    CHECK(fluid_load_model(late_engine.engine, argv[1], LOAD, nullptr, nullptr, &model) == FLUID_OK);
    CHECK(fluid_generate_start(model, REQUEST, &job) == FLUID_OK);
    CHECK(fluid_engine_free(engine) == FLUID_OK);
    return 0;
}
