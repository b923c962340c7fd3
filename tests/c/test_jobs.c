/* Jobs: polling, waiting, cancelling and freeing, from one thread and from several.
 *
 *     test_jobs MODEL TINY
 */
#include "check.h"

#include <limits.h>

static const char *path;

static void polls(fluid_model *model) {
    const fluid_event *event = NULL;
    const char *json = NULL;
    fluid_job *job = start(model, SHORT);
    fluid_status status;
    int tokens = 0, spins = 0;
    while ((status = fluid_job_next(job, 0, &event)) == FLUID_TIMEOUT || event->kind == FLUID_EVENT_TOKEN) {
        tokens += status == FLUID_OK && event->token >= 0;
        if (status == FLUID_TIMEOUT) {
            spins++;
            sleep_ms(1);
        }
    }
    CHECK(status == FLUID_OK && event->kind == FLUID_EVENT_END && event->status == FLUID_OK && tokens == 3);
    EXPECT(fluid_job_json(job, &json), FLUID_OK);
    CHECK(strcmp(json, event->json) == 0);
    for (int timeout = -1; timeout < 2; timeout++) { /* for ever after */
        EXPECT(fluid_job_next(job, timeout, &event), FLUID_END);
    }
    EXPECT(fluid_job_cancel(job), FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_job_next(job, 0, &event), FLUID_ERROR_INVALID_HANDLE);
    EXPECT(fluid_job_free(job), FLUID_ERROR_INVALID_HANDLE);
    CHECK(spins > 0);
}

/* The engine's event queue is full: the job runs until its events are read. */
static void while_running(fluid_model *model) {
    const fluid_event *event = NULL;
    const char *json = NULL;
    fluid_model *none = NULL;
    fluid_job *job = start(model, LONG);
    double since;
    EXPECT(fluid_job_json(job, &json), FLUID_ERROR_BUSY);
    EXPECT(fluid_job_take_model(job, &none), FLUID_ERROR_BUSY);
    CHECK(json == NULL && none == NULL);
    EXPECT(fluid_job_next(job, INT_MAX, &event), FLUID_OK);
    EXPECT(fluid_job_next(job, INT_MIN, &event), FLUID_OK);
    since = now();
    EXPECT(fluid_job_cancel(job), FLUID_OK);
    CHECK(drain(job) == FLUID_CANCELLED && now() - since < 5);
    EXPECT(fluid_job_json(job, &json), FLUID_OK);
    CHECK(strstr(json, "\"finish_reason\":\"cancelled\"") != NULL);
    EXPECT(fluid_job_take_model(job, &none), FLUID_ERROR_INVALID_ARGUMENT);
    EXPECT(fluid_job_free(job), FLUID_OK);
}

/* --- a thread that waits --- */

struct waiter {
    fluid_job *job;
    fluid_status status, end;
    int waits;
};

/* Reads `job` to its end, or until a call tells something else than an event. */
static void *wait_for_end(void *argument) {
    struct waiter *waiter = argument;
    const fluid_event *event = NULL;
    SET(waiter->waits, 1);
    do {
        waiter->status = fluid_job_next(waiter->job, -1, &event);
    } while (waiter->status == FLUID_OK && event->kind != FLUID_EVENT_END);
    waiter->end = waiter->status == FLUID_OK ? event->status : FLUID_OK;
    return NULL;
}

/* A job that waits behind two others has no event of its own. */
static void waiting_threads(fluid_model *model) {
    fluid_job *first = start(model, LONG), *second = start(model, LONG);
    for (int round = 0; round < 3; round++) {
        struct waiter waiter = {start(model, SHORT), FLUID_OK, FLUID_OK, 0};
        const fluid_event *event = NULL;
        double since = now();
        EXPECT(fluid_job_next(waiter.job, 50, &event), FLUID_TIMEOUT);
        CHECK(now() - since > 0.049 && now() - since < 5 && event == NULL);
        pthread_t thread = run_thread(wait_for_end, &waiter);
        while (GET(waiter.waits) == 0) {
            sleep_ms(1);
        }
        for (int i = 0; fluid_job_next(waiter.job, 0, &event) != FLUID_ERROR_BUSY; i++) {
            CHECK(i < 2000);
            sleep_ms(1);
        }
        EXPECT(fluid_job_next(waiter.job, -1, &event), FLUID_ERROR_BUSY);
        since = now();
        switch (round) {
            case 0:
                EXPECT(fluid_job_free(waiter.job), FLUID_OK);
                pthread_join(thread, NULL);
                CHECK(waiter.status == FLUID_CANCELLED);
                break;
            case 1:
                EXPECT(fluid_job_cancel(waiter.job), FLUID_OK);
                pthread_join(thread, NULL);
                CHECK(waiter.status == FLUID_OK && waiter.end == FLUID_CANCELLED);
                EXPECT(fluid_job_free(waiter.job), FLUID_OK);
                break;
            default:
                EXPECT(fluid_model_free(model), FLUID_OK);
                pthread_join(thread, NULL);
                CHECK(waiter.status == FLUID_OK && waiter.end == FLUID_CANCELLED);
                EXPECT(fluid_job_free(waiter.job), FLUID_OK);
        }
        CHECK(now() - since < 5);
    }
    /* Of a freed model, the jobs live on with their results. */
    CHECK(drain(first) == FLUID_CANCELLED && drain(second) == FLUID_CANCELLED);
    EXPECT(fluid_job_free(first), FLUID_OK);
    EXPECT(fluid_job_free(second), FLUID_OK);
}

static void loads(fluid_engine *engine) {
    fluid_model *model = NULL, *again = NULL;
    fluid_job *job = NULL;
    const char *json = NULL;
    int threads = count_entries("/proc/self/task");
    EXPECT(fluid_load_model_start(engine, path, LOAD, &job), FLUID_OK);
    CHECK(drain(job) == FLUID_OK);
    EXPECT(fluid_job_json(job, &json), FLUID_OK);
    CHECK(strcmp(json, "{}") == 0);
    EXPECT(fluid_job_take_model(job, &model), FLUID_OK);
    EXPECT(fluid_job_take_model(job, &again), FLUID_ERROR_INVALID_ARGUMENT);
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, NULL), FLUID_OK); /* the model outlives its load */
    EXPECT(fluid_model_free(model), FLUID_OK);
    CHECK(again == NULL && count_entries("/proc/self/task") == threads);
    /* Freed untaken, at different times. */
    for (int i = 0; i < 8; i++) {
        const fluid_event *event = NULL;
        EXPECT(fluid_load_model_start(engine, path, LOAD, &job), FLUID_OK);
        if (i % 4 == 1) {
            EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
        } else if (i % 4 == 2) {
            CHECK(drain(job) == FLUID_OK);
        } else if (i % 4 == 3) {
            sleep_ms(i);
            EXPECT(fluid_job_cancel(job), FLUID_OK);
        }
        EXPECT(fluid_job_free(job), FLUID_OK);
    }
    CHECK(threads_settle(threads) == threads);
}

static int let_go, went;

/* Holds the model's thread up where it has freed the model. */
static void holds_up(fluid_log_level level, const char *line, void *user_data) {
    (void)level;
    (void)user_data;
    if (strstr(line, ": freed") != NULL) {
        for (int i = 0; i < 2000 && !GET(let_go); i++) {
            sleep_ms(1);
        }
        SET(went, 1);
    }
}

/* The free of a loaded model that nobody took waits for nothing; that of the engine then does. */
static void untaken(void) {
    fluid_engine *engine = new_engine(NULL);
    fluid_job *job = NULL;
    EXPECT(fluid_load_model_start(engine, path, LOAD, &job), FLUID_OK);
    CHECK(drain(job) == FLUID_OK);
    EXPECT(fluid_log_set(holds_up, NULL, FLUID_LOG_INFO), FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    CHECK(!GET(went));
    SET(let_go, 1);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(GET(went));
    EXPECT(fluid_log_set(NULL, NULL, FLUID_LOG_INFO), FLUID_OK);
}

/* A load that was given up while its last step, compiling a large template, runs: the model that
 * still comes of it is freed on its own thread, while the engine waits for that thread. */
static void abandoned_load(void) {
    static char options[130000];
    int length = sprintf(options, "{\"n_ctx\": 64, \"n_threads\": 1, \"n_parallel\": 1, \"chat_template\": \"");
    for (int i = 0; i < 480; i++) {
        length += sprintf(options + length, "{{ messages[%d].role }}%0200d", i, i);
    }
    strcpy(options + length, "\"}");
    int step = getenv("FLUID_SLOW") == NULL ? 1 : 5;
    for (int round = 0; round < 20; round += step) {
        fluid_engine *engine = new_engine(NULL);
        const fluid_event *event = NULL;
        fluid_job *job = NULL;
        EXPECT(fluid_load_model_start(engine, path, options, &job), FLUID_OK);
        do {
            EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
        } while (event->kind == FLUID_EVENT_PROGRESS && event->progress < 1);
        struct timespec pause = {0, round * 200000};
        nanosleep(&pause, NULL);
        EXPECT(fluid_job_free(job), FLUID_OK);
        EXPECT(fluid_engine_free(engine), FLUID_OK);
    }
}

static void queue_full(void) {
    fluid_engine *engine = new_engine("{\"max_queue\": 3, \"event_queue\": 1}");
    fluid_model *model = load(engine, path, ENDLESS_ONE_SLOT);
    fluid_job *jobs[4], *more = NULL;
    jobs[0] = start(model, LONG);
    for (const fluid_event *event = NULL; event == NULL;) { /* it has the slot */
        EXPECT(fluid_job_next(jobs[0], -1, &event), FLUID_OK);
    }
    for (int i = 1; i < 4; i++) {
        jobs[i] = start(model, LONG);
    }
    EXPECT_SAYS(fluid_generate_start(model, SHORT, &more), FLUID_ERROR_QUEUE_FULL, "3 jobs");
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, NULL), FLUID_ERROR_QUEUE_FULL);
    EXPECT(fluid_job_cancel(jobs[2]), FLUID_OK); /* its place is free at once */
    CHECK(drain(jobs[2]) == FLUID_CANCELLED);
    EXPECT(fluid_generate_start(model, SHORT, &more), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(drain(jobs[1]) == FLUID_CANCELLED && drain(more) == FLUID_CANCELLED);
    for (int i = 0; i < 4; i++) {
        EXPECT(fluid_job_free(jobs[i]), FLUID_OK);
    }
    EXPECT(fluid_job_free(more), FLUID_OK);
    EXPECT(fluid_model_free(model), FLUID_ERROR_INVALID_HANDLE);
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    path = argv[2];
    fluid_engine *engine = new_engine(PAUSES);
    fluid_model *model = load(engine, path, ENDLESS);
    polls(model);
    while_running(model);
    waiting_threads(model);
    loads(engine);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    queue_full();
    untaken();
    abandoned_load();
    CHECK(threads_settle(1) == 1);
    return 0;
}
