/* Finds the sentence that says most nearly what is asked, by the vectors of an embedding model.
 *
 *     search MODEL.gguf
 */
#include <stdio.h>
#include <stdlib.h>

#include "fluid.h"

static const char *const REQUEST =
    "{\"input\": [\"How do I get my money back?\","
    " \"We deliver within three working days.\","
    " \"Refunds are paid to the card you bought with.\","
    " \"Our shop is open from nine to five.\"]}";
static const char *const SENTENCES[] = {"delivery", "refunds", "opening hours"};

static void check(fluid_status status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    float *vectors = NULL;
    size_t count = 0, dimensions = 0, best = 1;
    double highest = -2;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return EXIT_FAILURE;
    }
    check(fluid_engine_new(NULL, &engine), "fluid_engine_new");
    check(fluid_load_model(engine, argv[1], NULL, NULL, NULL, &model), argv[1]);
    check(fluid_embed(model, REQUEST, NULL, NULL, &vectors, &count, &dimensions, NULL), "fluid_embed");
    for (size_t i = 1; i < count; i++) {
        double cosine = 0; /* the vectors have the length 1 */
        for (size_t k = 0; k < dimensions; k++) {
            cosine += (double)vectors[k] * vectors[i * dimensions + k];
        }
        printf("%.3f %s\n", cosine, SENTENCES[i - 1]);
        if (cosine > highest) {
            highest = cosine;
            best = i;
        }
    }
    printf("closest: %s\n", SENTENCES[best - 1]);
    fluid_floats_free(vectors);
    fluid_engine_free(engine); /* its models with it */
    return EXIT_SUCCESS;
}
