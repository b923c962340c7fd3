/* Streams a chat answer to the terminal. Ctrl-C ends the answer, not the program.
 *
 *     chat MODEL.gguf ["question"]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fluid.h"

static volatile sig_atomic_t interrupted = 0;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

/* What the callback counts. */
struct progress {
    int tokens;
    double first, last; /* seconds from the start of the job */
};

static int32_t on_load(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == FLUID_EVENT_PROGRESS) {
        fprintf(stderr, "\rloading %3.0f %%", event->progress * 100);
    }
    return interrupted;
}

static int32_t on_event(const fluid_event *event, void *user_data) {
    struct progress *progress = user_data;
    if (event->kind == FLUID_EVENT_TOKEN) {
        fwrite(event->text, 1, event->text_len, stdout);
        fflush(stdout);
        progress->last = event->elapsed;
        if (progress->tokens++ == 0) {
            progress->first = event->elapsed;
        }
    }
    return interrupted; /* anything but 0 cancels the job */
}

static int fail(const char *what, fluid_status status) {
    fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
    return EXIT_FAILURE;
}

/* The request for `question`; JSON wants quotes, backslashes and control characters escaped. */
static char *request_for(const char *question) {
    static const char head[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"";
    static const char tail[] = "\"}], \"max_tokens\": 256, \"temperature\": 0.2}";
    char *json = malloc(sizeof head + 6 * strlen(question) + sizeof tail);
    char *out = json;
    if (json == NULL) {
        return NULL;
    }
    out += sprintf(out, "%s", head);
    for (const unsigned char *c = (const unsigned char *)question; *c != 0; c++) {
        if (*c == '"' || *c == '\\' || *c < 0x20) {
            out += sprintf(out, "\\u%04x", *c);
        } else {
            *out++ = (char)*c;
        }
    }
    strcpy(out, tail);
    return json;
}

int main(int argc, char **argv) {
    const char *question = argc > 2 ? argv[2] : "Why is the sky blue? Answer in two sentences.";
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf [\"question\"]\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (fluid_abi_version() >> 16 != FLUID_ABI_VERSION >> 16) {
        fprintf(stderr, "this libfluid has another binary interface; compile against its fluid.h\n");
        return EXIT_FAILURE;
    }
    signal(SIGINT, on_interrupt);

    fluid_engine *engine = NULL;
    fluid_status status = fluid_engine_new(NULL, &engine);
    if (status != FLUID_OK) {
        return fail("fluid_engine_new", status);
    }
    fluid_model *model = NULL;
    status = fluid_load_model(engine, argv[1], NULL, on_load, NULL, &model);
    fprintf(stderr, "\n");
    if (status != FLUID_OK) {
        int code = fail(argv[1], status);
        fluid_engine_free(engine);
        return code;
    }

    printf("> %s\n", question);
    char *request = request_for(question);
    struct progress progress = {0, 0, 0};
    status = fluid_generate(model, request, on_event, &progress, NULL);
    free(request);
    printf("\n");
    int code = EXIT_SUCCESS;
    if (status < 0) {
        code = fail("fluid_generate", status);
    } else {
        double seconds = progress.last - progress.first;
        fprintf(stderr, "[%s: first of %d tokens after %.2f s, then %.1f tokens/s]\n", fluid_status_name(status),
                progress.tokens, progress.first, seconds > 0 ? (progress.tokens - 1) / seconds : 0.0);
    }
    fluid_model_free(model);
    fluid_engine_free(engine);
    return code;
}
