/* Eight threads call everything at random for three seconds, on handles that others free and make
 * anew meanwhile. Whatever the calls return, none hangs or crashes, and all ends clean.
 *
 *     test_stress TINY
 */
#include "check.h"

enum { THREADS = 8, PLACES = 4 };

/* Handles that all threads take from and put into; what is in a place may be stale. */
static fluid_engine *engines[PLACES];
static fluid_model *models[PLACES];
static fluid_job *jobs[PLACES * 4];
static fluid_queue *queues[PLACES];
static const char *path;
static int stop;
static long generated, loaded, ended;

#define SWAP(place, value) __atomic_exchange_n(&(place), (value), __ATOMIC_SEQ_CST)

/* What calls may come to here: outcomes, and errors that a race explains; no other. */
static fluid_status fine(fluid_status status, int line) {
    switch (status) {
        case FLUID_OK: case FLUID_TIMEOUT: case FLUID_END: case FLUID_CANCELLED: case FLUID_DEADLINE:
        case FLUID_ERROR_INVALID_HANDLE: case FLUID_ERROR_INVALID_ARGUMENT: case FLUID_ERROR_BUSY:
        case FLUID_ERROR_QUEUE_FULL:
            return status;
        default:
            fprintf(stderr, "test_stress.c:%d: %s: %s\n", line, fluid_status_name(status), fluid_last_error());
            _Exit(1);
    }
}
#define FINE(call) fine((call), __LINE__)

struct dice {
    uint64_t state;
};

static unsigned roll(struct dice *dice, unsigned sides) {
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(dice->state >> 33) % sides;
}

static int32_t on_event(const fluid_event *event, void *user_data) {
    struct dice *dice = user_data;
    ended += event->kind == FLUID_EVENT_END;
    if (roll(dice, 50) == 0) {
        FINE(fluid_model_free(SWAP(models[roll(dice, PLACES)], NULL)));
    }
    return roll(dice, 40) == 0;
}

static void make(struct dice *dice) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    fluid_job *job = NULL;
    fluid_queue *queue = NULL;
    unsigned place = roll(dice, PLACES);
    switch (roll(dice, 8)) {
        case 0:
            FINE(fluid_engine_new(roll(dice, 2) ? "{\"event_queue\": 4, \"max_queue\": 8}" : NULL, &engine));
            FINE(fluid_engine_free(SWAP(engines[place], engine)));
            break;
        case 1: case 2: case 3:
            if (FINE(fluid_load_model(GET(engines[place]), path, LOAD, roll(dice, 2) ? on_event : NULL, dice, &model)) == FLUID_OK) {
                ADD(loaded, 1);
                FINE(fluid_model_free(SWAP(models[place], model)));
            }
            break;
        case 4:
            if (FINE(fluid_load_model_start(GET(engines[place]), path, "{\"n_ctx\": 64, \"n_threads\": 1, \"deadline_ms\": 50}", &job)) == FLUID_OK) {
                FINE(fluid_job_free(SWAP(jobs[roll(dice, PLACES * 4)], job)));
            }
            break;
        case 5:
            FINE(fluid_queue_new(&queue));
            FINE(fluid_queue_free(SWAP(queues[place], queue)));
            break;
        default:
            if (FINE(fluid_generate_start(GET(models[place]), roll(dice, 2) ? SHORT : LONG, &job)) == FLUID_OK) {
                FINE(fluid_job_free(SWAP(jobs[roll(dice, PLACES * 4)], job)));
            }
    }
}

static void use(struct dice *dice) {
    fluid_model *model = GET(models[roll(dice, PLACES)]), *taken = NULL;
    fluid_job *job = GET(jobs[roll(dice, PLACES * 4)]), *which = NULL;
    fluid_queue *queue = GET(queues[roll(dice, PLACES)]);
    const fluid_event *event = NULL;
    const char *borrowed = NULL;
    char *json = NULL;
    switch (roll(dice, 9)) {
        case 0:
            if (FINE(fluid_model_info(model, &json)) == FLUID_OK) {
                fluid_string_free(json);
            }
            break;
        case 1: case 2:
            if (FINE(fluid_generate(model, roll(dice, 3) ? SHORT : "{\"prompt\": \"a\", \"deadline_ms\": 20, " NO_END "}", on_event, dice, &json)) >= FLUID_OK) {
                ADD(generated, 1);
                fluid_string_free(json);
            }
            break;
        case 3:
            FINE(fluid_job_next(job, (int32_t)roll(dice, 10), &event));
            break;
        case 4:
            FINE(fluid_job_cancel(job));
            break;
        case 5:
            FINE(fluid_job_json(job, &borrowed));
            break;
        case 6:
            if (FINE(fluid_job_take_model(job, &taken)) == FLUID_OK) {
                FINE(fluid_model_free(SWAP(models[roll(dice, PLACES)], taken)));
            }
            break;
        case 7:
            FINE(fluid_job_attach(job, queue));
            break;
        default:
            FINE(fluid_queue_next(queue, (int32_t)roll(dice, 10), &which, &event));
    }
}

static void *stress(void *argument) {
    struct dice dice = {(uint64_t)(uintptr_t)argument * 7919};
    while (GET(stop) == 0) {
        if (roll(&dice, 4) == 0) {
            make(&dice);
        } else {
            use(&dice);
        }
    }
    return NULL;
}

/* Frees what is anywhere, while the others use it. */
static void *reap(void *argument) {
    struct dice dice = {(uint64_t)(uintptr_t)argument};
    while (GET(stop) == 0) {
        switch (roll(&dice, 8)) {
            case 0: FINE(fluid_engine_free(SWAP(engines[roll(&dice, PLACES)], NULL))); break;
            case 1: case 2: FINE(fluid_model_free(SWAP(models[roll(&dice, PLACES)], NULL))); break;
            case 3: FINE(fluid_queue_free(SWAP(queues[roll(&dice, PLACES)], NULL))); break;
            default: FINE(fluid_job_free(SWAP(jobs[roll(&dice, PLACES * 4)], NULL)));
        }
        sleep_ms((int)roll(&dice, 12));
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS + 1];
    CHECK(argc > 2);
    path = argv[2];
    for (uintptr_t i = 0; i < THREADS; i++) {
        threads[i] = run_thread(stress, (void *)(i + 1));
    }
    threads[THREADS] = run_thread(reap, (void *)99);
    sleep_ms(3000);
    for (int i = 0; i < 300 && (GET(loaded) == 0 || GET(generated) == 0); i++) { /* valgrind is slow */
        sleep_ms(100);
    }
    SET(stop, 1);
    double since = now();
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < PLACES; i++) {
        FINE(fluid_engine_free(engines[i]));
        FINE(fluid_model_free(models[i]));
        FINE(fluid_queue_free(queues[i]));
    }
    for (int i = 0; i < PLACES * 4; i++) {
        FINE(fluid_job_free(jobs[i]));
    }
    CHECK(threads_settle(1) == 1); /* nothing was left behind */
    if (getenv("FLUID_VERBOSE") != NULL) {
        printf("%ld loads, %ld generations, ended %.1f s later\n", loaded, generated, now() - since);
    }
    CHECK(loaded > 0 && generated > 0);
    return 0;
}
