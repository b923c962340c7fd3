/* Two answers at once, pulled by one thread that waits for nobody: the jobs take turns.
 *
 *     jobs MODEL.gguf
 */
#include <stdio.h>
#include <stdlib.h>

#include "fluid.h"

static const char *const REQUESTS[] = {
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Name three fruits.\"}], \"max_tokens\": 40, \"seed\": 1}",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Name three rivers.\"}], \"max_tokens\": 40, \"seed\": 1}",
};
enum { JOBS = 2 };

static void check(fluid_status status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
        exit(EXIT_FAILURE); /* jobs may still run: they end with the process */
    }
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    fluid_job *jobs[JOBS] = {NULL, NULL};
    int running = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return EXIT_FAILURE;
    }
    check(fluid_engine_new(NULL, &engine), "fluid_engine_new");
    check(fluid_load_model(engine, argv[1], NULL, NULL, NULL, &model), argv[1]);
    for (int i = 0; i < JOBS; i++) {
        check(fluid_generate_start(model, REQUESTS[i], &jobs[i]), "fluid_generate_start");
        running++;
    }
    while (running > 0) {
        for (int i = 0; i < JOBS; i++) {
            const fluid_event *event = NULL;
            /* A game would pass 0 here, once per frame. */
            fluid_status status = fluid_job_next(jobs[i], 5, &event);
            check(status, "fluid_job_next");
            if (status != FLUID_OK) {
                continue; /* FLUID_TIMEOUT: nothing yet; FLUID_END: this one is done */
            }
            if (event->kind == FLUID_EVENT_TOKEN) {
                printf("[%d] %s\n", i, event->text);
            } else if (event->kind == FLUID_EVENT_END) {
                printf("[%d] ended: %s\n", i, fluid_status_name(event->status));
                running--;
            }
        }
    }
    for (int i = 0; i < JOBS; i++) {
        const char *json = NULL;
        check(fluid_job_json(jobs[i], &json), "fluid_job_json");
        printf("%s\n", json);
        fluid_job_free(jobs[i]);
    }
    fluid_model_free(model);
    fluid_engine_free(engine);
    return EXIT_SUCCESS;
}
