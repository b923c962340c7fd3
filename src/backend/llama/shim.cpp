// Calls llama.cpp so that nothing it throws reaches Rust.
//
// A failed GGML_ASSERT calls abort(). ggml lets a callback look on before; ours throws instead,
// when the failing thread is inside one of the calls below: the exception unwinds through
// llama.cpp and becomes an error here. On any other thread (ggml's own workers) it returns, and
// the process aborts as ggml meant it to.

#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <new>
#include <stdexcept>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "llama.h"

// What llama.cpp itself says of its memory. The header that declares this, src/llama-ext.h, is not
// installed; it is repeated here for the release that Cargo.toml pins.
struct llama_memory_breakdown_data {
    size_t model   = 0;
    size_t context = 0;
    size_t compute = 0;
};

std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data> llama_get_memory_breakdown(const llama_context *);

namespace {

// What went wrong; kept in step with `Failure` in shim.rs.
enum failure_kind : int32_t {
    FAILURE_NONE      = 0,
    FAILURE_EXCEPTION = 1,
    FAILURE_MEMORY    = 2,
    FAILURE_ASSERT    = 3,
};

struct failure {
    int32_t kind;
    char    text[508];
};

struct assert_failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

thread_local int  depth         = 0;
thread_local bool assert_thrown = false;

void on_abort(const char * message) {
    if (depth > 0 && std::uncaught_exceptions() == 0) {
        assert_thrown = true;
        throw assert_failed(message);
    }
}

void note(failure * out, int32_t kind, const char * text) noexcept {
    out->kind = kind;
    std::snprintf(out->text, sizeof(out->text), "%s", text);
}

// Runs `body`; whatever it throws goes into `out`.
template <typename Body> void guarded(failure * out, Body && body) noexcept {
    out->kind     = FAILURE_NONE;
    assert_thrown = false;
    ++depth;
    try {
        body();
    } catch (const assert_failed & error) {
        note(out, FAILURE_ASSERT, error.what());
    } catch (const std::bad_alloc &) {
        note(out, FAILURE_MEMORY, "out of memory");
    } catch (const std::exception & error) {
        note(out, FAILURE_EXCEPTION, error.what());
    } catch (...) {
        note(out, FAILURE_EXCEPTION, "an exception of unknown type");
    }
    --depth;
    // llama.cpp catches std::exception itself in places; state may be half built all the same.
    if (assert_thrown && out->kind == FAILURE_NONE) {
        note(out, FAILURE_ASSERT, "an assertion failed");
    }
}

// What ggml says of a device; kept in step with `RawDevice` in shim.rs.
struct device {
    ggml_backend_dev_t handle;
    int32_t            type;
    size_t             memory_free;
    size_t             memory_total;
    char               backend[64];
    char               name[64];
    char               description[256];
};

}  // namespace

extern "C" {

#ifdef __linux__
// On Linux the library is linked with --wrap=__cxa_atexit (see build.rs): what registers the
// destructors of llama.cpp's and ggml's static objects comes here, and they are never destroyed.
// exit() would destroy those made after our own exit handler was set before it calls that
// handler, while worker threads still use them.
int __wrap___cxa_atexit(void (*)(void *), void *, void *) {
    return 0;
}
#endif

// Once, before anything else of llama.cpp is called.
void fluid_llama_prepare(ggml_log_callback log) {
    llama_log_set(log, nullptr);
    ggml_set_abort_callback(on_abort);
}

// Writes up to `room` of ggml's devices to `devices`; returns how many there are. Drivers are asked.
size_t fluid_llama_devices(device * devices, size_t room, failure * out) {
    size_t count = 0;
    guarded(out, [&] {
        count = ggml_backend_dev_count();
        for (size_t i = 0; i < count && i < room; ++i) {
            ggml_backend_dev_t handle = ggml_backend_dev_get(i);
            device           & to     = devices[i];
            to.handle                 = handle;
            to.type                   = ggml_backend_dev_type(handle);
            ggml_backend_dev_memory(handle, &to.memory_free, &to.memory_total);
            std::snprintf(to.backend, sizeof(to.backend), "%s", ggml_backend_reg_name(ggml_backend_dev_backend_reg(handle)));
            std::snprintf(to.name, sizeof(to.name), "%s", ggml_backend_dev_name(handle));
            std::snprintf(to.description, sizeof(to.description), "%s", ggml_backend_dev_description(handle));
        }
    });
    return count;
}

llama_model * fluid_llama_load(const char * path, const llama_model_params * params, failure * out) {
    llama_model * model = nullptr;
    guarded(out, [&] { model = llama_model_load_from_file(path, *params); });
    return model;
}

void fluid_llama_free_model(llama_model * model, failure * out) {
    guarded(out, [&] { llama_model_free(model); });
}

llama_adapter_lora * fluid_llama_load_adapter(llama_model * model, const char * path, failure * out) {
    llama_adapter_lora * adapter = nullptr;
    guarded(out, [&] { adapter = llama_adapter_lora_init(model, path); });
    return adapter;
}

void fluid_llama_free_adapter(llama_adapter_lora * adapter, failure * out) {
    guarded(out, [&] { llama_adapter_lora_free(adapter); });
}

// Computations from now on are with these adapters alone, at these scales.
void fluid_llama_set_adapters(llama_context * context, llama_adapter_lora ** adapters, size_t count, float * scales,
                              failure * out) {
    guarded(out, [&] { llama_set_adapters_lora(context, adapters, count, scales); });
}

llama_context * fluid_llama_new_context(llama_model * model, const llama_context_params * params, failure * out) {
    llama_context * context = nullptr;
    guarded(out, [&] { context = llama_init_from_model(model, *params); });
    return context;
}

void fluid_llama_free_context(llama_context * context, failure * out) {
    guarded(out, [&] { llama_free(context); });
}

// Bytes, by what they are for; kept in step with `Sizes` in shim.rs.
struct memory {
    uint64_t weights;
    uint64_t cache;
    uint64_t compute;
};

// What `context` and its model hold, or would, if the model was loaded without its weights.
void fluid_llama_memory(const llama_context * context, memory * sizes, failure * out) {
    guarded(out, [&] {
        for (const auto & [_, bytes] : llama_get_memory_breakdown(context)) {
            sizes->weights += bytes.model;
            sizes->cache += bytes.context;
            sizes->compute += bytes.compute;
        }
    });
}

ggml_threadpool * fluid_llama_new_threads(int32_t count, failure * out) {
    ggml_threadpool * pool = nullptr;
    guarded(out, [&] {
        ggml_threadpool_params params = ggml_threadpool_params_default(count);
        pool = ggml_threadpool_new(&params);
    });
    return pool;
}

void fluid_llama_free_threads(ggml_threadpool * pool, failure * out) {
    guarded(out, [&] { ggml_threadpool_free(pool); });
}

// llama_decode()'s own result; only meaningful when `out` says that nothing failed.
int32_t fluid_llama_decode(llama_context * context, const llama_batch * batch, failure * out) {
    int32_t result = -1;
    guarded(out, [&] { result = llama_decode(context, *batch); });
    return result;
}

// Row `index` of the last batch, or null.
float * fluid_llama_logits(llama_context * context, int32_t index, failure * out) {
    float * logits = nullptr;
    guarded(out, [&] { logits = llama_get_logits_ith(context, index); });
    return logits;
}

// The state of token `index` of the last batch, or null.
float * fluid_llama_state(llama_context * context, int32_t index, failure * out) {
    float * state = nullptr;
    guarded(out, [&] { state = llama_get_embeddings_ith(context, index); });
    return state;
}

// What was pooled of `sequence` in the last batch, or null.
float * fluid_llama_pooled(llama_context * context, int32_t sequence, failure * out) {
    float * pooled = nullptr;
    guarded(out, [&] { pooled = llama_get_embeddings_seq(context, sequence); });
    return pooled;
}

// Drops all sequences, where there is a cache to hold them.
void fluid_llama_clear(llama_context * context, failure * out) {
    guarded(out, [&] {
        if (llama_memory_t memory = llama_get_memory(context)) {
            llama_memory_clear(memory, false);
        }
    });
}

bool fluid_llama_remove(llama_context * context, int32_t sequence, int32_t from, failure * out) {
    bool removed = false;
    guarded(out, [&] { removed = llama_memory_seq_rm(llama_get_memory(context), sequence, from, -1); });
    return removed;
}

// What `from` holds below `end` (all of it below 0) is then part of `to` as well.
void fluid_llama_copy(llama_context * context, int32_t from, int32_t to, int32_t end, failure * out) {
    guarded(out, [&] { llama_memory_seq_cp(llama_get_memory(context), from, to, -1, end); });
}

// Drops `count` positions from `at` on and moves what follows down; false where the cache cannot.
bool fluid_llama_shift(llama_context * context, int32_t sequence, int32_t at, int32_t count, failure * out) {
    bool shifted = false;
    guarded(out, [&] {
        llama_memory_t memory = llama_get_memory(context);
        if (llama_memory_can_shift(memory) && llama_memory_seq_rm(memory, sequence, at, at + count)) {
            llama_memory_seq_add(memory, sequence, at + count, -1, -count);
            shifted = true;
        }
    });
    return shifted;
}

// The last position of `sequence`; -1 when it is empty.
int32_t fluid_llama_last(llama_context * context, int32_t sequence, failure * out) {
    int32_t last = -1;
    guarded(out, [&] { last = llama_memory_seq_pos_max(llama_get_memory(context), sequence); });
    return last;
}

size_t fluid_llama_state_bytes(llama_context * context, int32_t sequence, failure * out) {
    size_t bytes = 0;
    guarded(out, [&] { bytes = llama_state_seq_get_size(context, sequence); });
    return bytes;
}

size_t fluid_llama_save(llama_context * context, int32_t sequence, uint8_t * bytes, size_t room, failure * out) {
    size_t written = 0;
    guarded(out, [&] { written = llama_state_seq_get_data(context, bytes, room, sequence); });
    return written;
}

// How many positions `sequence` has then; -1 when llama.cpp did not take all the bytes.
int64_t fluid_llama_restore(llama_context * context, int32_t sequence, const uint8_t * bytes, size_t length,
                            failure * out) {
    int64_t end = -1;
    guarded(out, [&] {
        if (llama_state_seq_set_data(context, bytes, length, sequence) == length) {
            end = int64_t{ llama_memory_seq_pos_max(llama_get_memory(context), sequence) } + 1;
        }
    });
    return end;
}

int32_t fluid_llama_tokenize(const llama_vocab * vocab, const char * text, int32_t length, llama_token * tokens,
                             int32_t capacity, bool special, bool parse, failure * out) {
    int32_t count = 0;
    guarded(out, [&] { count = llama_tokenize(vocab, text, length, tokens, capacity, special, parse); });
    return count;
}

int32_t fluid_llama_piece(const llama_vocab * vocab, llama_token token, char * text, int32_t capacity, bool special,
                          failure * out) {
    int32_t length = 0;
    guarded(out, [&] { length = llama_token_to_piece(vocab, token, text, capacity, 0, special); });
    return length;
}

// The instruction sets that ggml's kernels were compiled for, as the bits that `machine.rs` names.
uint32_t fluid_llama_compiled_for(void) {
    uint32_t bits = 0;
    bits |= static_cast<uint32_t>(ggml_cpu_has_sse3()) << 0;
    bits |= static_cast<uint32_t>(ggml_cpu_has_ssse3()) << 1;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx()) << 2;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx2()) << 3;
    bits |= static_cast<uint32_t>(ggml_cpu_has_bmi2()) << 4;
    bits |= static_cast<uint32_t>(ggml_cpu_has_f16c()) << 5;
    bits |= static_cast<uint32_t>(ggml_cpu_has_fma()) << 6;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx_vnni()) << 7;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx512()) << 8;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx512_vbmi()) << 9;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx512_vnni()) << 10;
    bits |= static_cast<uint32_t>(ggml_cpu_has_avx512_bf16()) << 11;
    return bits;
}

}  // extern "C"
