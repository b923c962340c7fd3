/* tokens MODEL COUNT: microseconds for each token of a generation, streamed into a callback. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fluid.h"

static long letters;

static int32_t on_event(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == FLUID_EVENT_TOKEN) {
        letters += (long)event->text_len;
    }
    return 0;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    char request[200];
    double since = 0;
    if (argc != 3 || fluid_engine_new(NULL, &engine) != FLUID_OK ||
        fluid_load_model(engine, argv[1], "{\"n_threads\": 1, \"n_ctx\": 4096}", NULL, NULL, &model) != FLUID_OK) {
        fprintf(stderr, "%s\n", fluid_last_error());
        return 1;
    }
    snprintf(request, sizeof request,
             "{\"prompt\": \"Once\", \"max_tokens\": %s, \"ignore_eos\": true, \"temperature\": 0}", argv[2]);
    for (int round = 0; round < 2; round++) { /* the first one warms up */
        since = now();
        if (fluid_generate(model, request, on_event, NULL, NULL) != FLUID_OK) {
            fprintf(stderr, "%s\n", fluid_last_error());
            return 1;
        }
    }
    printf("%.2f\n", (now() - since) / atof(argv[2]));
    fluid_engine_free(engine);
    return letters == 0;
}
