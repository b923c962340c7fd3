// A loaded model, and what it can do.
#ifndef FLUID_MODEL_HPP
#define FLUID_MODEL_HPP

#include <string>
#include <string_view>
#include <utility>

#include "arguments.hpp"
#include "job_of.hpp"
#include "stream.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// A loaded model. Its destructor frees it: its jobs end as cancelled, its memory is given back.
//
// Any number of threads may call any of its functions at once, close() included: then the calls of the others end as
// cancelled, or fail with FLUID_ERROR_INVALID_HANDLE. Jobs beyond the load option `n_parallel` wait their turn.
//
// Every act comes in four forms:
//   generate            waits, and throws a fluid::error
//   try_generate        waits, and returns a fluid::result
//   start_generate      returns a job at once, and throws
//   try_start_generate  returns a job at once, in a fluid::result
// Those that wait take a callback, and from C++20 on a std::stop_token: see fluid::job_of::try_get.
// The requests' fields, and what each act can fail of, are in fluid.h.
class model {
public:
    // Takes over a handle of the C interface.
    explicit model(fluid_model *owned) noexcept : handle_(owned) {}

    // Answers a chat or goes on with a prompt (fluid_generate).
    result<job_of<answer>> try_start_generate(const request &what) const {
        return start<answer>(what.str(), fluid_generate_start);
    }
    template <class Callback = no_callback>
    result<answer> try_generate(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return detail::run(try_start_generate(what), on_event, stop);
    }
    // The text of an answer as a range.
    result<text_stream> try_stream(const request &what) const {
        return detail::stream_of<std::string_view>(try_start_generate(what));
    }

    // Writes down speech (fluid_transcribe); all fields of the request are optional.
    result<job_of<transcript>> try_start_transcribe(const audio &speech, const request &what = {}) const;
    template <class Callback = no_callback>
    result<transcript> try_transcribe(const audio &speech, const request &what = {}, Callback &&on_event = {},
                                      const stop_token &stop = {}) const {
        return detail::run(try_start_transcribe(speech, what), on_event, stop);
    }
    // Segments of speech as a range.
    result<segment_stream> try_stream_transcribe(const audio &speech, const request &what = {}) const {
        return detail::stream_of<segment>(try_start_transcribe(speech, what));
    }

    // Turns the texts of `input` into vectors (fluid_embed).
    result<job_of<embeddings>> try_start_embed(const request &what) const {
        return start<embeddings>(what.str(), fluid_embed_start);
    }
    template <class Callback = no_callback>
    result<embeddings> try_embed(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return detail::run(try_start_embed(what), on_event, stop);
    }

    // Ranks `documents` by how well they answer `query` (fluid_rerank).
    result<job_of<ranking>> try_start_rerank(const request &what) const {
        return start<ranking>(what.str(), fluid_rerank_start);
    }
    template <class Callback = no_callback>
    result<ranking> try_rerank(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return detail::run(try_start_rerank(what), on_event, stop);
    }

    // Saves what the model computed of a prompt, for a later process to restore (fluid_model_save_state). The
    // result is JSON, as there.
    result<job_of<std::string>> try_start_save_state(const request &what, const name_or_path &path) const;
    template <class Callback = no_callback>
    result<std::string> try_save_state(const request &what, const name_or_path &path, Callback &&on_event = {},
                                       const stop_token &stop = {}) const {
        return detail::run(try_start_save_state(what, path), on_event, stop);
    }
    result<job_of<std::string>> try_start_restore_state(const name_or_path &path) const;
    template <class Callback = no_callback>
    result<std::string> try_restore_state(const name_or_path &path, Callback &&on_event = {},
                                          const stop_token &stop = {}) const {
        return detail::run(try_start_restore_state(path), on_event, stop);
    }

    // Tokens of the field `content`, or of what a chat becomes; texts of `tokens`; what was loaded. JSON, as of
    // fluid_tokenize, fluid_detokenize and fluid_model_info.
    result<std::string> try_tokenize(const request &what) const { return ask(what.str(), fluid_tokenize); }
    result<std::string> try_detokenize(const request &what) const { return ask(what.str(), fluid_detokenize); }
    result<std::string> try_info() const {
        return detail::ask({}, [this](char **out) { return fluid_model_info(handle(), out); });
    }

#ifndef FLUID_NO_EXCEPTIONS
    job_of<answer> start_generate(const request &what) const { return try_start_generate(what).value(); }
    template <class Callback = no_callback>
    answer generate(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return try_generate(what, on_event, stop).value();
    }
    text_stream stream(const request &what) const { return try_stream(what).value(); }

    job_of<transcript> start_transcribe(const audio &speech, const request &what = {}) const {
        return try_start_transcribe(speech, what).value();
    }
    template <class Callback = no_callback>
    transcript transcribe(const audio &speech, const request &what = {}, Callback &&on_event = {},
                          const stop_token &stop = {}) const {
        return try_transcribe(speech, what, on_event, stop).value();
    }
    segment_stream stream_transcribe(const audio &speech, const request &what = {}) const {
        return try_stream_transcribe(speech, what).value();
    }

    job_of<embeddings> start_embed(const request &what) const { return try_start_embed(what).value(); }
    template <class Callback = no_callback>
    embeddings embed(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return try_embed(what, on_event, stop).value();
    }

    job_of<ranking> start_rerank(const request &what) const { return try_start_rerank(what).value(); }
    template <class Callback = no_callback>
    ranking rerank(const request &what, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return try_rerank(what, on_event, stop).value();
    }

    job_of<std::string> start_save_state(const request &what, const name_or_path &path) const {
        return try_start_save_state(what, path).value();
    }
    template <class Callback = no_callback>
    std::string save_state(const request &what, const name_or_path &path, Callback &&on_event = {},
                           const stop_token &stop = {}) const {
        return try_save_state(what, path, on_event, stop).value();
    }
    job_of<std::string> start_restore_state(const name_or_path &path) const {
        return try_start_restore_state(path).value();
    }
    template <class Callback = no_callback>
    std::string restore_state(const name_or_path &path, Callback &&on_event = {}, const stop_token &stop = {}) const {
        return try_restore_state(path, on_event, stop).value();
    }

    std::string tokenize(const request &what) const { return try_tokenize(what).value(); }
    std::string detokenize(const request &what) const { return try_detokenize(what).value(); }
    std::string info() const { return try_info().value(); }
#endif

    // Frees it, once or more often.
    void close() noexcept { handle_.close(); }
    // Its handle in the C interface, for what this class lacks; null when closed.
    fluid_model *handle() const noexcept { return handle_.get(); }
    // Gives the handle away, to be freed by fluid_model_free.
    fluid_model *release() noexcept { return handle_.release(); }

private:
    template <class T>
    result<job_of<T>> start(const std::string &request,
                            fluid_status (*function)(fluid_model *, const char *, fluid_job **)) const {
        return detail::start<T>({{request, "the request"}},
                                [&](fluid_job **out) { return function(handle(), request.c_str(), out); });
    }
    result<std::string> ask(const std::string &request,
                            fluid_status (*function)(fluid_model *, const char *, char **)) const {
        return detail::ask({{request, "the request"}},
                           [&](char **out) { return function(handle(), request.c_str(), out); });
    }

    detail::handle<fluid_model, fluid_model_free> handle_;
};

inline result<job_of<transcript>> model::try_start_transcribe(const audio &speech, const request &what) const {
    const std::string fields = what.str();
    const fluid_audio recording = speech.c_audio();
    return detail::start<transcript>({{fields, "the request"}}, [&](fluid_job **out) {
        return fluid_transcribe_start(handle(), &recording, detail::c_text(fields), out);
    });
}

inline result<job_of<std::string>> model::try_start_save_state(const request &what, const name_or_path &path) const {
    const std::string fields = what.str();
    return detail::start<std::string>({{fields, "the request"}, {path.str(), "the path"}}, [&](fluid_job **out) {
        return fluid_model_save_state_start(handle(), fields.c_str(), path.str().c_str(), out);
    });
}

inline result<job_of<std::string>> model::try_start_restore_state(const name_or_path &path) const {
    return detail::start<std::string>({{path.str(), "the path"}}, [&](fluid_job **out) {
        return fluid_model_restore_state_start(handle(), path.str().c_str(), out);
    });
}

template <>
inline result<model> job_of<model>::take() {
    fluid_model *taken = nullptr;
    const fluid_status status = fluid_job_take_model(handle(), &taken);
    return status < 0 ? result<model>(detail::last_failure(status)) : result<model>(model(taken));
}

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_MODEL_HPP
