// An engine: models are loaded, listed, fetched and looked at.
#ifndef FLUID_ENGINE_HPP
#define FLUID_ENGINE_HPP

#include <string>
#include <utility>

#include "arguments.hpp"
#include "job_of.hpp"
#include "library.hpp"
#include "model.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// Owns models and jobs; several can live side by side. Its destructor cancels its jobs, frees its models and joins
// their threads, so it waits for native work that cannot be stopped. Models and jobs may outlive it: they then fail
// or end as cancelled. Any number of threads may call any of its functions at once, close() included.
//
// Options are named in fluid.h with each function; acts have the four forms that fluid::model describes.
class engine {
public:
    // An engine of these options (fluid_engine_new), if this program and the library fit together.
    static result<engine> try_create(const options &with = {});
    // Takes over a handle of the C interface.
    explicit engine(fluid_engine *owned) noexcept : handle_(owned) {}

    // Loads the model that `name` stands for: a path, a model of the model folder, or a repository of a
    // hub (fluid_load_model). A callback may take double: how far it is, from 0 to 1.
    result<job_of<model>> try_start_load_model(const name_or_path &name, const options &with = {}) const {
        return start<model>(name, with, fluid_load_model_start);
    }
    template <class Callback = no_callback>
    result<model> try_load_model(const name_or_path &name, const options &with = {}, Callback &&on_event = {},
                                 const stop_token &stop = {}) const {
        return detail::run(try_start_load_model(name, with), on_event, stop);
    }

    // Fetches a model into the model folder (fluid_download). The result is JSON, as there.
    result<job_of<std::string>> try_start_download(const name_or_path &name, const options &with = {}) const {
        return start<std::string>(name, with, fluid_download_start);
    }
    template <class Callback = no_callback>
    result<std::string> try_download(const name_or_path &name, const options &with = {}, Callback &&on_event = {},
                                     const stop_token &stop = {}) const {
        return detail::run(try_start_download(name, with), on_event, stop);
    }

    // A job without an end of its own, of event_kind::model: what happens to the models unasked
    // (fluid_engine_events).
    result<job> try_events() const;

    // JSON, as of the functions named.
    // The models in the model folder (fluid_models).
    result<std::string> try_models(const options &with = {}) const;
    // What a model would take of memory (fluid_estimate).
    result<std::string> try_estimate(const name_or_path &name, const options &with = {}) const;
    // The models that are loaded, and their memory (fluid_engine_info).
    result<std::string> try_info() const {
        return detail::ask({}, [this](char **out) { return fluid_engine_info(handle(), out); });
    }
    // Has idle models give their memory back (fluid_engine_trim).
    result<std::string> try_trim() const {
        return detail::ask({}, [this](char **out) { return fluid_engine_trim(handle(), out); });
    }
    // As the functions of the same names; the engine's options count.
    result<std::string> try_devices() const { return detail::devices(handle()); }
    result<std::string> try_doctor(const options &with = {}) const { return detail::doctor(handle(), with); }

#ifndef FLUID_NO_EXCEPTIONS
    explicit engine(const options &with = {}) : engine(try_create(with).value()) {}

    job_of<model> start_load_model(const name_or_path &name, const options &with = {}) const {
        return try_start_load_model(name, with).value();
    }
    template <class Callback = no_callback>
    model load_model(const name_or_path &name, const options &with = {}, Callback &&on_event = {},
                     const stop_token &stop = {}) const {
        return try_load_model(name, with, on_event, stop).value();
    }
    job_of<std::string> start_download(const name_or_path &name, const options &with = {}) const {
        return try_start_download(name, with).value();
    }
    template <class Callback = no_callback>
    std::string download(const name_or_path &name, const options &with = {}, Callback &&on_event = {},
                         const stop_token &stop = {}) const {
        return try_download(name, with, on_event, stop).value();
    }
    job events() const { return try_events().value(); }
    std::string models(const options &with = {}) const { return try_models(with).value(); }
    std::string estimate(const name_or_path &name, const options &with = {}) const {
        return try_estimate(name, with).value();
    }
    std::string info() const { return try_info().value(); }
    std::string trim() const { return try_trim().value(); }
    std::string devices() const { return try_devices().value(); }
    std::string doctor(const options &with = {}) const { return try_doctor(with).value(); }
#endif

    // Frees it, once or more often; see the destructor.
    void close() noexcept { handle_.close(); }
    // Its handle in the C interface, for what this class lacks; null when closed.
    fluid_engine *handle() const noexcept { return handle_.get(); }
    // Gives the handle away, to be freed by fluid_engine_free.
    fluid_engine *release() noexcept { return handle_.release(); }

private:
    template <class T>
    result<job_of<T>> start(const name_or_path &name, const options &with,
                            fluid_status (*function)(fluid_engine *, const char *, const char *, fluid_job **)) const {
        const std::string json = with.str();
        return detail::start<T>({{name.str(), "the name"}, {json, "the options"}}, [&](fluid_job **out) {
            return function(handle(), name.str().c_str(), detail::c_text(json), out);
        });
    }

    detail::handle<fluid_engine, fluid_engine_free> handle_;
};

inline result<engine> engine::try_create(const options &with) {
    const std::string json = with.str();
    const result<void> fits = try_check_abi();
    const result<void> fine = fits ? detail::check_texts({{json, "the options"}}) : fits;
    if (!fine) {
        return fine.error();
    }
    fluid_engine *made = nullptr;
    const fluid_status status = fluid_engine_new(detail::c_text(json), &made);
    return status < 0 ? result<engine>(detail::last_failure(status)) : result<engine>(engine(made));
}

inline result<job> engine::try_events() const {
    fluid_job *made = nullptr;
    const fluid_status status = fluid_engine_events(handle(), &made);
    return status < 0 ? result<job>(detail::last_failure(status)) : result<job>(job(made));
}

inline result<std::string> engine::try_models(const options &with) const {
    const std::string json = with.str();
    return detail::ask({{json, "the options"}},
                       [&](char **out) { return fluid_models(handle(), detail::c_text(json), out); });
}

inline result<std::string> engine::try_estimate(const name_or_path &name, const options &with) const {
    const std::string json = with.str();
    return detail::ask({{name.str(), "the name"}, {json, "the options"}}, [&](char **out) {
        return fluid_estimate(handle(), name.str().c_str(), detail::c_text(json), out);
    });
}

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_ENGINE_HPP
