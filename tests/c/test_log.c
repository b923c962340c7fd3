/* The log callback: lines come, none after it was replaced, and it cannot lock itself up.
 *
 *     test_log MODEL
 */
#include "check.h"

static const char *path;

struct sink {
    int lines, running, retired, levels;
};

static void count(fluid_log_level level, const char *line, void *user_data) {
    struct sink *sink = user_data;
    CHECK(GET(sink->retired) == 0);
    ADD(sink->running, 1);
    ADD(sink->lines, 1);
    CHECK(level >= FLUID_LOG_ERROR && level <= FLUID_LOG_DEBUG && line[0] != 0 && strchr(line, '\n') == NULL);
    __atomic_or_fetch(&sink->levels, 1 << level, __ATOMIC_SEQ_CST);
    CHECK(GET(sink->retired) == 0);
    ADD(sink->running, -1);
}

static void levels(fluid_engine *engine) {
    struct sink sink = {0, 0, 0, 0};
    fluid_model *model = NULL;
    EXPECT(fluid_log_set(count, &sink, 0), FLUID_ERROR_INVALID_ARGUMENT);
    EXPECT(fluid_log_set(count, &sink, FLUID_LOG_DEBUG + 1), FLUID_ERROR_INVALID_ARGUMENT);
    CHECK(sink.lines == 0);
    EXPECT(fluid_log_set(count, &sink, FLUID_LOG_ERROR), FLUID_OK);
    EXPECT(fluid_load_model(engine, "missing.gguf", NULL, NULL, NULL, &model), FLUID_ERROR_NOT_FOUND);
    CHECK(sink.levels == 1 << FLUID_LOG_ERROR);
    EXPECT(fluid_log_set(count, &sink, FLUID_LOG_DEBUG), FLUID_OK);
    model = load(engine, path, LOAD);
    EXPECT(fluid_generate(model, "{\"prompt\": \"a\", \"max_tokens\": 1, \"nobody_defines_this\": 1}", NULL, NULL, NULL), FLUID_OK);
    CHECK((sink.levels & 1 << FLUID_LOG_WARN) && (sink.levels & 1 << FLUID_LOG_INFO) && (sink.levels & 1 << FLUID_LOG_DEBUG));
    CHECK(sink.lines > 20);
    EXPECT(fluid_log_set(NULL, NULL, 99), FLUID_OK); /* the level of no callback does not matter */
    sink.retired = 1;
    EXPECT(fluid_model_free(model), FLUID_OK);
}

/* --- replaced while other threads log --- */

static int stop;

static void *keeps_logging(void *argument) {
    while (GET(stop) == 0) {
        EXPECT(fluid_generate(argument, "{\"prompt\": \"a\", \"max_tokens\": 0, \"nobody_defines_this\": 1}", NULL, NULL, NULL), FLUID_OK);
    }
    return NULL;
}

static void replaced(fluid_engine *engine) {
    fluid_model *model = load(engine, path, LOAD);
    struct sink sinks[2];
    pthread_t threads[3];
    int lines = 0;
    memset(sinks, 0, sizeof sinks);
    for (int i = 0; i < 3; i++) {
        threads[i] = run_thread(keeps_logging, model);
    }
    for (int i = 0; i < 200; i++) {
        struct sink *old = &sinks[i % 2], *fresh = &sinks[(i + 1) % 2];
        SET(fresh->retired, 0);
        EXPECT(fluid_log_set(count, fresh, FLUID_LOG_WARN), FLUID_OK);
        CHECK(GET(old->running) == 0); /* its calls have ended, and no new ones begin */
        SET(old->retired, 1);
        sleep_ms(i % 4);
    }
    EXPECT(fluid_log_set(NULL, NULL, FLUID_LOG_WARN), FLUID_OK);
    sinks[0].retired = sinks[1].retired = 1;
    SET(stop, 1);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    lines = sinks[0].lines + sinks[1].lines;
    CHECK(lines > 100);
    EXPECT(fluid_model_free(model), FLUID_OK);
}

/* --- calls from inside --- */

struct inside {
    fluid_engine *engine;
    fluid_model *model; /* set once it is loaded */
    int calls;
};

/* Runs on the model's own thread too, which no call from here may wait for. */
static void calls_back(fluid_log_level level, const char *line, void *user_data) {
    struct inside *inside = user_data;
    fluid_model *model = GET(inside->model), *other = NULL;
    const fluid_event *event = NULL;
    fluid_engine *engine = NULL;
    fluid_job *job = NULL;
    char *json = NULL;
    (void)line;
    ADD(inside->calls, 1);
    EXPECT(fluid_log_set(calls_back, inside, level), FLUID_ERROR_BUSY);
    EXPECT(fluid_log_set(NULL, NULL, level), FLUID_ERROR_BUSY);
    EXPECT(fluid_engine_new("{\"oops\": 1}", &engine), FLUID_ERROR_INVALID_REQUEST);
    EXPECT(fluid_load_model(inside->engine, path, LOAD, NULL, NULL, &other), FLUID_ERROR_BUSY);
    if (model != NULL) {
        fluid_status status = fluid_model_info(model, &json);
        CHECK(status == FLUID_OK || status == FLUID_ERROR_INVALID_HANDLE);
        fluid_string_free(json);
        status = fluid_generate(model, SHORT, NULL, NULL, NULL);
        CHECK(status == FLUID_ERROR_BUSY || status == FLUID_ERROR_INVALID_HANDLE);
        if (fluid_generate_start(model, SHORT, &job) == FLUID_OK) {
            EXPECT(fluid_job_next(job, -1, &event), FLUID_ERROR_BUSY);
            status = fluid_job_next(job, 0, &event);
            CHECK(status == FLUID_TIMEOUT || status == FLUID_OK);
            EXPECT(fluid_job_free(job), FLUID_OK);
        }
    }
}

static void from_inside(fluid_engine *engine) {
    struct inside inside = {engine, NULL, 0};
    EXPECT(fluid_log_set(calls_back, &inside, FLUID_LOG_INFO), FLUID_OK);
    fluid_model *model = load(engine, path, LOAD);
    SET(inside.model, model);
    EXPECT(fluid_generate(model, "{\"prompt\": \"a\", \"max_tokens\": 2, \"nobody_defines_this\": 1}", NULL, NULL, NULL), FLUID_OK);
    EXPECT(fluid_model_free(model), FLUID_OK);
    CHECK(GET(inside.calls) >= 3);
    EXPECT(fluid_log_set(NULL, NULL, FLUID_LOG_INFO), FLUID_OK);
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    path = argv[1];
    fluid_engine *engine = new_engine(NULL);
    levels(engine);
    replaced(engine);
    from_inside(engine);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
