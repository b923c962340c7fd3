// libfluid for C++17 and later: local language models, speech recognition and embeddings. Header only; it needs fluid.h
// and the library, to link with -lfluid.
//
//     fluid::engine engine;
//     fluid::model model = engine.load_model("model.gguf");
//     for (std::string_view text : model.stream(fluid::request().user("Why is the sky blue?"))) {
//         std::cout << text << std::flush;
//     }
//
// Requests   fluid::request and fluid::options write JSON in the field names of fluid.h, which lists them all; both also
//            take JSON text as it is. Texts are UTF-8, paths std::filesystem::path or UTF-8 on every system.
// Results    The library's own JSON, or text, beside the parts that are wanted most: fluid::answer, transcript,
//            embeddings, ranking. fluid::value reads what else is in the JSON.
// Errors     Each call that can fail has two forms: one throws a fluid::error, the other, called try_..., returns a
//            fluid::result. Compiled without exceptions, or with FLUID_NO_EXCEPTIONS, there are the latter alone. Memory
//            that cannot be had is std::bad_alloc in both.
// Endings    Cancelled jobs and those whose deadline passed are failures (fluid::cancelled,
//            fluid::deadline_exceeded) that have the partial result. Who stops a job by the return value of a callback
//            knows it, so that the call returns what came so far, with `is_whole` false.
// Callbacks  Run on the thread that made the call, between its events, never inside the C interface: what they throw
//            reaches the caller as in any C++ function, and every function may be called in them. The exception is
//            the log's, which runs on any thread: see fluid::set_log.
// Ownership  engine, model, job, queue and streams own their handle; they move and do not copy. close() frees early, any
//            number of times. In whatever order they go: what outlives its engine or its model fails or ends as
//            cancelled, and never touches freed memory. Texts of events are borrowed until the next event.
// Threads    The functions of an engine and a model may be called on any thread, any number at once, close() included, and
//            so may cancel(). A job, a stream or a queue is read and closed by one thread at a time. To move or destroy an
//            object while others use it is a mistake, as with any type.
// Process    Returning from main, or exit(), with jobs running is fine; fluid.h names the one exception, while OpenVINO
//            is opened or loads a model. After fork() every call of the child fails with FLUID_ERROR_FORKED, until it
//            calls exec.
#ifndef FLUID_HPP
#define FLUID_HPP

#include "fluid/engine.hpp"
#include "fluid/error.hpp"
#include "fluid/event.hpp"
#include "fluid/job_of.hpp"
#include "fluid/json.hpp"
#include "fluid/library.hpp"
#include "fluid/model.hpp"
#include "fluid/queue.hpp"
#include "fluid/results.hpp"
#include "fluid/stream.hpp"
#include "fluid/value.hpp"

#endif // FLUID_HPP
