/* A memory budget, idle unload, trim, and the engine's events, by threads that know nothing of each other.
 *
 *     test_memory MODEL TINY
 */
#include "check.h"

enum { THREADS = 8, ROUNDS = 12, MODELS = 3 };

static fluid_model *models[MODELS];
static int answered;

/* What the engine's models take, in bytes. */
static double memory_of(fluid_engine *engine) {
    double bytes = 0;
    char *json = NULL;
    EXPECT(fluid_engine_info(engine, &json), FLUID_OK);
    CHECK(sscanf(json, "{\"max_memory_bytes\":null,\"memory_bytes\":%lf", &bytes) == 1 && bytes > 0);
    fluid_string_free(json);
    return bytes;
}

static int is_unloaded(fluid_model *model) {
    char *json = NULL;
    EXPECT(fluid_model_info(model, &json), FLUID_OK);
    int unloaded = strstr(json, "\"state\":\"unloaded\"") != NULL;
    fluid_string_free(json);
    return unloaded;
}

static void say(fluid_model *model) {
    char *json = NULL;
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, &json), FLUID_OK);
    CHECK(strstr(json, "\"completion_tokens\":3") != NULL);
    fluid_string_free(json);
}

/* Jobs, cancels and tokens of models that take turns. */
static void *use_all(void *argument) {
    int first = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        fluid_model *model = models[(first + i) % MODELS];
        if (i % 4 == 3) {
            fluid_job *job = start(model, LONG);
            sleep_ms(i);
            EXPECT(fluid_job_cancel(job), FLUID_OK);
            CHECK(drain(job) == FLUID_CANCELLED);
            EXPECT(fluid_job_free(job), FLUID_OK);
        } else if (i % 4 == 2) {
            char *json = NULL;
            EXPECT(fluid_tokenize(model, "{\"content\": \"hello\"}", &json), FLUID_OK);
            fluid_string_free(json);
        } else {
            say(model);
        }
        ADD(answered, 1);
    }
    return NULL;
}

/* Reads the engine's events through a queue until the engine is freed. */
static void *read_events(void *argument) {
    static int seen;
    fluid_queue *queue = argument;
    for (;;) {
        fluid_job *job = NULL;
        const fluid_event *event = NULL;
        EXPECT(fluid_queue_next(queue, -1, &job, &event), FLUID_OK);
        if (event->kind == FLUID_EVENT_END) {
            CHECK(event->status == FLUID_CANCELLED);
            return &seen;
        }
        CHECK(event->kind == FLUID_EVENT_MODEL && event->text_len > 0);
        CHECK(strstr(event->json, "\"model\":\"") != NULL);
        seen++;
    }
}

/* Three models of which two fit, for eight threads. */
static void take_turns(const char *path) {
    fluid_engine *engine = new_engine("{\"idle_timeout\": 0}");
    fluid_model *probe = load(engine, path, LOAD);
    double bytes = memory_of(engine);
    EXPECT(fluid_model_free(probe), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);

    char options[64];
    snprintf(options, sizeof options, "{\"max_memory\": %.9f}", bytes * 2.5 / (1 << 30));
    engine = new_engine(options);
    fluid_queue *queue = NULL;
    fluid_job *events = NULL;
    EXPECT(fluid_queue_new(&queue), FLUID_OK);
    EXPECT(fluid_engine_events(engine, &events), FLUID_OK);
    EXPECT(fluid_job_attach(events, queue), FLUID_OK);
    pthread_t reader = run_thread(read_events, queue);
    for (int i = 0; i < MODELS; i++) {
        models[i] = load(engine, path, LOAD);
    }
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        threads[i] = run_thread(use_all, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(GET(answered) == THREADS * ROUNDS);
    EXPECT(fluid_model_free(models[0]), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    void *seen = NULL;
    CHECK(pthread_join(reader, &seen) == 0);
    /* Each was loaded, and at least one had to go. */
    CHECK(*(int *)seen > MODELS);
    EXPECT(fluid_job_free(events), FLUID_OK);
    EXPECT(fluid_queue_free(queue), FLUID_OK);
}

static void idle_and_trim(const char *path) {
    fluid_engine *engine = new_engine("{\"idle_timeout\": 0.1, \"idle_check_interval\": 0.02}");
    fluid_model *model = load(engine, path, LOAD);
    fluid_model *pinned = load(engine, path, "{\"n_ctx\": 512, \"n_threads\": 1, \"pinned\": true}");
    for (int round = 0; round < 3; round++) {
        say(model);
        for (int i = 0; i < 2000 && !is_unloaded(model); i++) {
            sleep_ms(5);
        }
        CHECK(is_unloaded(model) && !is_unloaded(pinned));
    }
    say(model);
    EXPECT(fluid_engine_trim(engine, NULL), FLUID_OK);
    char *json = NULL;
    EXPECT(fluid_engine_trim(engine, &json), FLUID_OK);
    CHECK(strstr(json, "\"unloaded\":[]") != NULL);
    fluid_string_free(json);
    CHECK(is_unloaded(model));
    /* Freed while it is loaded again. */
    fluid_job *job = start(model, SHORT);
    EXPECT(fluid_model_free(model), FLUID_OK);
    fluid_status status = drain(job);
    CHECK(status == FLUID_CANCELLED || status == FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
}

static void bad_input(const char *path) {
    fluid_engine *engine = NULL;
    EXPECT_SAYS(fluid_engine_new("{\"max_memory\": -1}", &engine), FLUID_ERROR_INVALID_REQUEST, "max_memory");
    EXPECT_SAYS(fluid_engine_new("{\"idle_timeout\": \"5\"}", &engine), FLUID_ERROR_INVALID_REQUEST, "idle_timeout");
    EXPECT_SAYS(fluid_engine_new("{\"idle_check_interval\": 0}", &engine), FLUID_ERROR_INVALID_REQUEST,
                "idle_check_interval");
    CHECK(engine == NULL);
    EXPECT(fluid_engine_trim(NULL, NULL), FLUID_ERROR_INVALID_HANDLE);
    char *json = NULL;
    EXPECT(fluid_engine_info(NULL, &json), FLUID_ERROR_INVALID_HANDLE);
    fluid_job *job = NULL;
    EXPECT(fluid_engine_events(NULL, &job), FLUID_ERROR_INVALID_HANDLE);
    engine = new_engine("{\"max_memory\": 0.0001}");
    EXPECT(fluid_engine_info(engine, NULL), FLUID_ERROR_INVALID_ARGUMENT);
    EXPECT(fluid_engine_events(engine, NULL), FLUID_ERROR_INVALID_ARGUMENT);
    fluid_model *model = NULL;
    EXPECT_SAYS(fluid_load_model(engine, path, LOAD, NULL, NULL, &model), FLUID_ERROR_OUT_OF_MEMORY, "max_memory");
    CHECK(json == NULL && job == NULL && model == NULL);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    EXPECT(fluid_engine_trim(engine, NULL), FLUID_ERROR_INVALID_HANDLE);
}

int main(int argc, char **argv) {
    CHECK(argc >= 3);
    bad_input(argv[2]);
    idle_and_trim(argv[2]);
    take_turns(argv[2]);
    return 0;
}
