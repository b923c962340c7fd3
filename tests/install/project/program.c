// Tells which library it got, answers with a model, and has names that llama.cpp has too.
#include "fluid.h"

#include <stdio.h>
#include <stdlib.h>

// A host may have a llama.cpp of its own. With one process-wide name for both, either would call the other's.
int ggml_init(void);
int llama_backend_init(void);
int ggml_init(void) { abort(); }
int llama_backend_init(void) { abort(); }

static int32_t print(const fluid_event *event, void *words)
{
    if (event->kind == FLUID_EVENT_TOKEN)
        *(int *)words += 1;
    return 0;
}

int main(int argc, char **argv)
{
    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    int tokens = 0;

    if (argc != 2 || fluid_abi_version() >> 16 != FLUID_ABI_VERSION >> 16)
        return 2;
    if (fluid_engine_new("{}", &engine) != FLUID_OK ||
        fluid_load_model(engine, argv[1], "{}", NULL, NULL, &model) != FLUID_OK ||
        fluid_generate(model, "{\"prompt\": \"Hello\", \"max_tokens\": 8}", print, &tokens, NULL) != FLUID_OK) {
        fprintf(stderr, "%s\n", fluid_last_error());
        return 1;
    }
    // C++ throws inside, and it must arrive: the unwinder finds its tables in this program too.
    if (fluid_generate(model, "{\"prompt\": \"a\", \"grammar\": \"root ::= (\"}", print, &tokens, NULL) >= FLUID_OK)
        return 1;
    printf("libfluid %s, %d tokens\n", fluid_version(), tokens);
    fluid_model_free(model);
    fluid_engine_free(engine);
    return 0;
}
