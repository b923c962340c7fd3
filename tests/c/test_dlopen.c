/* Opened by hand, closed and opened again: the library stays, works on, and leaves the process's
 * handlers as they were. This program is not linked against it.
 *
 *     test_dlopen MODEL TINY LIBRARY
 */
#include "check.h"

#include <dlfcn.h>
#include <signal.h>

static const char *library;

static void *find(void *opened, const char *name) {
    void *symbol = dlsym(opened, name);
    CHECK(symbol != NULL);
    return symbol;
}
/* C has no cast from an object's address to a function's; POSIX has this. */
#define FIND(function) (*(void **)&(function) = find(opened, "fluid_" #function))

static fluid_engine *cycle(const char *path, fluid_engine *engine) {
    fluid_status (*engine_new)(const char *, fluid_engine **);
    fluid_status (*load_model)(fluid_engine *, const char *, const char *, fluid_event_fn, void *, fluid_model **);
    fluid_status (*generate)(fluid_model *, const char *, fluid_event_fn, void *, char **);
    fluid_status (*generate_start)(fluid_model *, const char *, fluid_job **);
    fluid_status (*model_free)(fluid_model *);
    fluid_status (*engine_free)(fluid_engine *);
    fluid_model *model = NULL;
    fluid_job *job = NULL;
    void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (opened == NULL) {
        fprintf(stderr, "%s\n", dlerror());
    }
    CHECK(opened != NULL);
    FIND(engine_new);
    FIND(load_model);
    FIND(generate);
    FIND(generate_start);
    FIND(model_free);
    FIND(engine_free);
    CHECK(engine_free(engine) == FLUID_OK); /* of the cycle before, with a job that runs */
    CHECK(engine_new(NULL, &engine) == FLUID_OK);
    CHECK(load_model(engine, path, LOAD, NULL, NULL, &model) == FLUID_OK);
    CHECK(generate(model, SHORT, NULL, NULL, NULL) == FLUID_OK);
    CHECK(model_free(model) == FLUID_OK);
    CHECK(load_model(engine, path, LOAD, NULL, NULL, &model) == FLUID_OK);
    CHECK(generate_start(model, LONG, &job) == FLUID_OK);
    CHECK(dlclose(opened) == 0);
    CHECK(dlopen(library, RTLD_NOW | RTLD_NOLOAD) != NULL); /* still there */
    return engine;
}

enum { SIGNALS = 32 };

static void look_at_handlers(struct sigaction *handlers) {
    for (int i = 1; i < SIGNALS; i++) {
        CHECK(sigaction(i, NULL, &handlers[i]) == 0);
    }
}

int main(int argc, char **argv) {
    static struct sigaction before[SIGNALS], after[SIGNALS];
    fluid_engine *engine = NULL;
    CHECK(argc > 3);
    library = argv[3];
    CHECK(dlopen(library, RTLD_NOW | RTLD_NOLOAD) == NULL);
    look_at_handlers(before);
    for (int i = 0; i < 3; i++) {
        engine = cycle(argv[2], engine);
    }
    look_at_handlers(after);
    for (int i = 1; i < SIGNALS; i++) {
        CHECK(before[i].sa_handler == after[i].sa_handler && before[i].sa_flags == after[i].sa_flags);
    }
    return 0; /* an engine and a job are left */
}
