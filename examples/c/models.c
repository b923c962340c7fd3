/* Lists the models of a folder; or loads one by its name, fetched from the hub if it is not there, within a
 * memory budget, and has it answer.
 *
 *     models FOLDER
 *     models FOLDER NAME ["question"]      such as ggml-org/SmolLM3-3B-GGUF
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fluid.h"

/* A download's progress tells bytes and rate as JSON as well. */
static int32_t on_load(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == FLUID_EVENT_PROGRESS) {
        fprintf(stderr, "\r%3.0f %% %s", event->progress * 100, event->json);
    } else if (event->kind == FLUID_EVENT_NOTICE) {
        fprintf(stderr, "\n%s\n", event->text);
    }
    return 0;
}

static int32_t on_answer(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == FLUID_EVENT_TOKEN) {
        fwrite(event->text, 1, event->text_len, stdout);
        fflush(stdout);
    }
    return 0;
}

/* `text` as a string of JSON between `before` and `behind`: quotes, backslashes and control characters escaped. */
static char *with_text(const char *before, const char *text, const char *behind) {
    char *json = malloc(strlen(before) + 6 * strlen(text) + strlen(behind) + 1);
    if (json != NULL) {
        char *out = json + sprintf(json, "%s", before);
        for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++) {
            out += *c == '"' || *c == '\\' || *c < 0x20 ? sprintf(out, "\\u%04x", *c) : sprintf(out, "%c", *c);
        }
        strcpy(out, behind);
    }
    return json;
}

static fluid_status list(fluid_engine *engine) {
    char *json = NULL;
    fluid_status status = fluid_models(engine, NULL, &json);
    if (status == FLUID_OK) {
        puts(json);
        fluid_string_free(json);
    }
    return status;
}

static fluid_status answer(fluid_engine *engine, const char *name, const char *question) {
    fluid_model *model = NULL;
    fluid_status status = fluid_load_model(engine, name, NULL, on_load, NULL, &model);
    fputc('\n', stderr);
    if (status == FLUID_OK) {
        char *request = with_text("{\"messages\": [{\"role\": \"user\", \"content\": \"", question,
                                  "\"}], \"max_tokens\": 128, \"temperature\": 0.2}");
        status = fluid_generate(model, request, on_answer, NULL, NULL);
        puts("");
        free(request);
    }
    return status;
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s FOLDER [NAME [\"question\"]]\n", argv[0]);
        return 2;
    }
    /* Four GiB for all models together; what nobody uses for five minutes gives its memory back. */
    char *options = with_text("{\"model_dir\": \"", argv[1], "\", \"max_memory\": 4, \"idle_timeout\": 300}");
    fluid_status status = fluid_engine_new(options, &engine);
    free(options);
    if (status == FLUID_OK) {
        status = argc == 2 ? list(engine) : answer(engine, argv[2], argc > 3 ? argv[3] : "Why is the sky blue?");
    }
    if (status < FLUID_OK) {
        fprintf(stderr, "%s: %s\n", fluid_status_name(status), fluid_last_error());
    }
    fluid_engine_free(engine);
    return status == FLUID_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
