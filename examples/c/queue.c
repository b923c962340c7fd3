/* Eight answers, read by one thread through one queue, as a server would.
 *
 *     queue MODEL.gguf
 */
#include <stdio.h>
#include <stdlib.h>

#include "fluid.h"

enum { JOBS = 8 };

static void check(fluid_status status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    fluid_queue *queue = NULL;
    fluid_job *jobs[JOBS];
    int tokens[JOBS] = {0};
    int running = JOBS;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return EXIT_FAILURE;
    }
    check(fluid_engine_new(NULL, &engine), "fluid_engine_new");
    check(fluid_load_model(engine, argv[1], "{\"n_parallel\": 4}", NULL, NULL, &model), argv[1]);
    check(fluid_queue_new(&queue), "fluid_queue_new");
    for (int i = 0; i < JOBS; i++) {
        char request[128];
        snprintf(request, sizeof request, "{\"prompt\": \"%d, %d, %d,\", \"max_tokens\": 12, \"temperature\": 0}", i, i + 1,
                 i + 2);
        check(fluid_generate_start(model, request, &jobs[i]), "fluid_generate_start");
        check(fluid_job_attach(jobs[i], queue), "fluid_job_attach");
    }
    while (running > 0) {
        fluid_job *job = NULL;
        const fluid_event *event = NULL;
        int i = 0;
        check(fluid_queue_next(queue, -1, &job, &event), "fluid_queue_next");
        while (jobs[i] != job) {
            i++; /* a job's handle is its name */
        }
        if (event->kind == FLUID_EVENT_TOKEN) {
            tokens[i]++;
        } else if (event->kind == FLUID_EVENT_END) {
            printf("job %d: %s after %d tokens: %s\n", i, fluid_status_name(event->status), tokens[i], event->json);
            running--;
        }
    }
    for (int i = 0; i < JOBS; i++) {
        fluid_job_free(jobs[i]);
    }
    fluid_queue_free(queue);
    fluid_model_free(model);
    fluid_engine_free(engine);
    return EXIT_SUCCESS;
}
