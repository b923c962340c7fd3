/* Has the model call a function of this program: its arguments always fit their schema.
 *
 *     tools MODEL.gguf [QUESTION]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fluid.h"

static const char *const REQUEST =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], \"temperature\": 0, \"max_tokens\": 200,"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"get_weather\","
    " \"description\": \"The weather of a city\", \"parameters\": {\"type\": \"object\", \"properties\": {"
    "\"city\": {\"type\": \"string\", \"maxLength\": 40}, \"unit\": {\"enum\": [\"celsius\", \"fahrenheit\"]}},"
    " \"required\": [\"city\", \"unit\"]}}}],"
    " \"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"get_weather\"}}}";

/* Deltas of a call come as OpenAI streams them; here they are only shown. */
static int32_t on_event(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == FLUID_EVENT_TOOL_CALL) {
        printf("%s\n", event->json);
    }
    return 0;
}

static void check(fluid_status status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    char *json = NULL, request[2048];
    const char *question = argc > 2 ? argv[2] : "What is the weather in Rome?";
    if (argc < 2 || strpbrk(question, "\"\\\n") != NULL || strlen(question) > 1000) {
        fprintf(stderr, "usage: %s MODEL.gguf [QUESTION]\n(a question without quotes, backslashes and line breaks)\n",
                argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(request, sizeof request, REQUEST, question);
    check(fluid_engine_new(NULL, &engine), "fluid_engine_new");
    check(fluid_load_model(engine, argv[1], NULL, NULL, NULL, &model), argv[1]);
    check(fluid_generate(model, request, on_event, NULL, &json), "fluid_generate");
    printf("%s\n", json); /* choices[0].message.tool_calls: run them, and send what came of it back */
    fluid_string_free(json);
    fluid_engine_free(engine); /* its models with it */
    return EXIT_SUCCESS;
}
