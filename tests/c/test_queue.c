/* Queues: the events of many jobs for one reader.
 *
 *     test_queue MODEL TINY
 */
#include "check.h"

enum { JOBS = 24 };

static const char *path;

static fluid_queue *new_queue(void) {
    fluid_queue *queue = NULL;
    EXPECT(fluid_queue_new(&queue), FLUID_OK);
    return queue;
}

static void attach(fluid_job *job, fluid_queue *queue) {
    EXPECT(fluid_job_attach(job, queue), FLUID_OK);
}

static int find(fluid_job *const *jobs, int count, const fluid_job *job) {
    for (int i = 0; i < count; i++) {
        if (jobs[i] == job) {
            return i;
        }
    }
    return -1;
}

/* More jobs than slots, attached before, while and after they run; each tells all its tokens and one end. */
static void many_jobs(fluid_model *model) {
    fluid_queue *queue = new_queue();
    fluid_job *jobs[JOBS], *job = NULL;
    const fluid_event *event = NULL;
    int tokens[JOBS] = {0}, ends[JOBS] = {0}, left = JOBS;
    EXPECT(fluid_queue_next(queue, 0, &job, &event), FLUID_TIMEOUT);
    EXPECT(fluid_queue_next(queue, 20, &job, &event), FLUID_TIMEOUT);
    CHECK(job == NULL && event == NULL);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = start(model, i % 3 == 2 ? LONG : SHORT);
        if (i % 3 == 1) { /* ended already */
            const char *json = NULL;
            for (int tries = 0; i < 6 && tries < 1000 && fluid_job_json(jobs[i], &json) == FLUID_ERROR_BUSY; tries++) {
                sleep_ms(1);
            }
        }
        attach(jobs[i], queue);
        EXPECT(fluid_job_next(jobs[i], 0, &event), FLUID_ERROR_BUSY);
    }
    while (left > 0) {
        EXPECT(fluid_queue_next(queue, -1, &job, &event), FLUID_OK);
        int i = find(jobs, JOBS, job);
        CHECK(i >= 0 && ends[i] == 0);
        if (event->kind == FLUID_EVENT_TOKEN) {
            tokens[i] += event->token >= 0;
            if (i % 3 == 2 && tokens[i] == 2) {
                EXPECT(fluid_job_cancel(job), FLUID_OK);
            }
        } else {
            CHECK(event->kind == FLUID_EVENT_END && event->status == (i % 3 == 2 ? FLUID_CANCELLED : FLUID_OK));
            CHECK(strstr(event->json, "\"usage\"") != NULL);
            ends[i]++;
            left--;
        }
    }
    EXPECT(fluid_queue_next(queue, 20, &job, &event), FLUID_TIMEOUT);
    for (int i = 0; i < JOBS; i++) {
        CHECK(ends[i] == 1 && (i % 3 == 2 ? tokens[i] >= 2 : tokens[i] == 3));
        EXPECT(fluid_job_free(jobs[i]), FLUID_OK);
    }
    EXPECT(fluid_queue_free(queue), FLUID_OK);
    EXPECT(fluid_queue_free(queue), FLUID_ERROR_INVALID_HANDLE);
}

/* A job that is freed with events pending is never heard of again; the event read last stays. */
static void freed_jobs(fluid_model *model) {
    fluid_queue *queue = new_queue();
    fluid_job *gone = start(model, LONG), *stays = start(model, LONG), *job = NULL;
    const fluid_event *event = NULL;
    attach(gone, queue);
    attach(stays, queue);
    for (int i = 0; i < 4; i++) {
        EXPECT(fluid_queue_next(queue, -1, &job, &event), FLUID_OK);
    }
    sleep_ms(20); /* both have events waiting now */
    EXPECT(fluid_job_free(gone), FLUID_OK);
    EXPECT(fluid_job_cancel(stays), FLUID_OK);
    do {
        EXPECT(fluid_queue_next(queue, -1, &job, &event), FLUID_OK);
        CHECK(job == stays);
    } while (event->kind != FLUID_EVENT_END);
    EXPECT(fluid_queue_next(queue, 20, &job, &event), FLUID_TIMEOUT);
    EXPECT(fluid_job_free(stays), FLUID_OK);
    EXPECT(fluid_queue_free(queue), FLUID_OK);
}

static void attached_once(fluid_model *model) {
    fluid_queue *queue = new_queue(), *other = new_queue();
    fluid_job *job = start(model, SHORT), *which = NULL;
    const fluid_event *event = NULL;
    attach(job, queue);
    EXPECT(fluid_job_attach(job, other), FLUID_ERROR_BUSY);
    EXPECT(fluid_job_attach(job, queue), FLUID_ERROR_BUSY);
    EXPECT(fluid_queue_next(queue, -1, &which, &event), FLUID_OK);
    EXPECT(fluid_queue_free(queue), FLUID_OK); /* detaches it */
    EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
    attach(job, other);
    do {
        EXPECT(fluid_queue_next(other, -1, &which, &event), FLUID_OK);
        CHECK(which == job);
    } while (event->kind != FLUID_EVENT_END);
    EXPECT(fluid_queue_free(other), FLUID_OK);
    EXPECT(fluid_job_next(job, -1, &event), FLUID_END);
    EXPECT(fluid_job_free(job), FLUID_OK);
}

/* --- several threads --- */

struct reader {
    fluid_queue *queue;
    fluid_status status;
};

static void *read_queue(void *argument) {
    struct reader *reader = argument;
    fluid_job *job = NULL;
    const fluid_event *event = NULL;
    reader->status = fluid_queue_next(reader->queue, -1, &job, &event);
    return NULL;
}

static void freed_while_waiting(fluid_model *model) {
    struct reader reader = {new_queue(), FLUID_OK};
    /* Two jobs hold the slots, so that the third, attached, has no event to tell. */
    fluid_job *first = start(model, LONG), *second = start(model, LONG), *third, *job = NULL;
    const fluid_event *event = NULL;
    for (int i = 0; i < 2; i++) {
        EXPECT(fluid_job_next(i == 0 ? first : second, -1, &event), FLUID_OK);
    }
    third = start(model, SHORT);
    attach(third, reader.queue);
    pthread_t thread = run_thread(read_queue, &reader);
    while (fluid_queue_next(reader.queue, 0, &job, &event) != FLUID_ERROR_BUSY) {
        sleep_ms(1);
    }
    EXPECT(fluid_queue_free(reader.queue), FLUID_OK);
    pthread_join(thread, NULL);
    CHECK(reader.status == FLUID_CANCELLED);
    EXPECT(fluid_job_next(third, 0, &event), FLUID_TIMEOUT); /* the job went on, and is ours again */
    EXPECT(fluid_job_free(first), FLUID_OK);
    CHECK(drain(third) == FLUID_OK);
    EXPECT(fluid_job_free(second), FLUID_OK);
    EXPECT(fluid_job_free(third), FLUID_OK);
}

struct meddler {
    fluid_job *job;
    fluid_queue *queue;
    int stop;
};

static void *meddle(void *argument) {
    struct meddler *meddler = argument;
    const fluid_event *event = NULL;
    while (GET(meddler->stop) == 0) {
        EXPECT(fluid_job_attach(meddler->job, meddler->queue), FLUID_ERROR_BUSY);
        EXPECT(fluid_job_next(meddler->job, -1, &event), FLUID_ERROR_BUSY);
    }
    return NULL;
}

/* What others try with an attached job does not get in the way of the queue's reader. */
static void meddled_with(fluid_model *model) {
    for (int round = 0; round < 4; round++) {
        fluid_queue *queue = new_queue();
        struct meddler meddler = {start(model, "{\"prompt\": \"hello\", \"max_tokens\": 100, " NO_END "}"), queue, 0};
        fluid_job *job = NULL;
        const fluid_event *event = NULL;
        pthread_t threads[2];
        int tokens = 0;
        attach(meddler.job, queue);
        threads[0] = run_thread(meddle, &meddler);
        threads[1] = run_thread(meddle, &meddler);
        do {
            EXPECT(fluid_queue_next(queue, 20000, &job, &event), FLUID_OK);
            tokens += event->kind == FLUID_EVENT_TOKEN && event->token >= 0;
        } while (event->kind != FLUID_EVENT_END);
        SET(meddler.stop, 1);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        CHECK(tokens == 100);
        EXPECT(fluid_job_free(job), FLUID_OK);
        EXPECT(fluid_queue_free(queue), FLUID_OK);
    }
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    path = argv[2];
    fluid_engine *engine = new_engine(PAUSES);
    fluid_model *model = load(engine, path, ENDLESS);
    many_jobs(model);
    freed_jobs(model);
    attached_once(model);
    freed_while_waiting(model);
    meddled_with(model);
    EXPECT(fluid_model_free(model), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
