/* What the C tests share: checks that name their line, texts of requests, events that are counted. */
#ifndef CHECK_H
#define CHECK_H

#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fluid.h"

#define UNUSED __attribute__((unused))
/* C99 has no atomics; gcc and clang do. */
#define GET(place) __atomic_load_n(&(place), __ATOMIC_SEQ_CST)
#define SET(place, value) __atomic_store_n(&(place), (value), __ATOMIC_SEQ_CST)
#define ADD(place, value) __atomic_add_fetch(&(place), (value), __ATOMIC_SEQ_CST)

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);        \
            _Exit(1);                                                                      \
        }                                                                                  \
    } while (0)

/* The call returns `want`; last_error is empty exactly when that is no error. */
#define EXPECT(call, want) expect((call), (want), #call, __FILE__, __LINE__)

/* ... and the message holds `words`. */
#define EXPECT_SAYS(call, want, words)                                                     \
    do {                                                                                   \
        EXPECT(call, want);                                                                \
        if (strstr(fluid_last_error(), words) == NULL) {                                   \
            fprintf(stderr, "%s:%d: \"%s\" is not in: %s\n", __FILE__, __LINE__, words,    \
                    fluid_last_error());                                                   \
            _Exit(1);                                                                      \
        }                                                                                  \
    } while (0)

static UNUSED void expect(fluid_status got, fluid_status want, const char *call, const char *file, int line) {
    if (got != want || (got < 0) != (fluid_last_error()[0] != 0)) {
        fprintf(stderr, "%s:%d: %s is %s, not %s; last error: \"%s\"\n", file, line, call, fluid_status_name(got),
                fluid_status_name(want), fluid_last_error());
        _Exit(1);
    }
}

/* Forbids the tokens that end an answer, of SmolLM2 and of tiny_gguf.py. */
#define NO_END "\"logit_bias\": {\"0\": -100, \"2\": -100, \"262\": -100, \"264\": -100}"
#define SHORT "{\"prompt\": \"hello\", \"max_tokens\": 3, \"seed\": 1, " NO_END "}"
#define LONG "{\"prompt\": \"hello\", \"max_tokens\": 60000, \"seed\": 1, " NO_END "}"
/* Jobs of an engine like this stay running until somebody reads their events, as long as no other
 * job waits for their slot. */
#define PAUSES "{\"event_queue\": 2}"
#define LOAD "{\"n_ctx\": 512, \"n_parallel\": 2, \"n_threads\": 1}"
#define ONE_SLOT "{\"n_ctx\": 512, \"n_parallel\": 1, \"n_threads\": 1}"
/* With tiny_gguf.py's model LONG then takes longer than any test. */
#define ENDLESS "{\"n_ctx\": 65536, \"n_parallel\": 2, \"n_threads\": 1}"
#define ENDLESS_ONE_SLOT "{\"n_ctx\": 65536, \"n_parallel\": 1, \"n_threads\": 1}"

static UNUSED double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static UNUSED void sleep_ms(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static UNUSED fluid_engine *new_engine(const char *options) {
    fluid_engine *engine = NULL;
    EXPECT(fluid_engine_new(options, &engine), FLUID_OK);
    CHECK(engine != NULL);
    return engine;
}

static UNUSED fluid_model *load(fluid_engine *engine, const char *path, const char *options) {
    fluid_model *model = NULL;
    EXPECT(fluid_load_model(engine, path, options, NULL, NULL, &model), FLUID_OK);
    CHECK(model != NULL);
    return model;
}

static UNUSED fluid_job *start(fluid_model *model, const char *request) {
    fluid_job *job = NULL;
    EXPECT(fluid_generate_start(model, request, &job), FLUID_OK);
    CHECK(job != NULL);
    return job;
}

/* Reads a job up to its end; returns the status in the final event. */
static UNUSED fluid_status drain(fluid_job *job) {
    for (;;) {
        const fluid_event *event = NULL;
        EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
        if (event->kind == FLUID_EVENT_END) {
            return event->status;
        }
    }
}

static UNUSED int32_t stop_at_once(const fluid_event *event, void *user_data) {
    (void)event;
    (void)user_data;
    return 1;
}

static UNUSED pthread_t run_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    return thread;
}

/* Entries of a folder such as /proc/self/task. */
static UNUSED int count_entries(const char *folder) {
    int count = 0;
    DIR *stream = opendir(folder);
    CHECK(stream != NULL);
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        count += entry->d_name[0] != '.';
    }
    closedir(stream);
    return count;
}

/* Threads of this process, once they are `want` or two seconds have passed. */
static UNUSED int threads_settle(int want) {
    int count = 0;
    for (int i = 0; i < 200; i++) {
        count = count_entries("/proc/self/task");
        if (count == want) {
            break;
        }
        sleep_ms(10);
    }
    return count;
}

#endif /* CHECK_H */
