/* The process ends while OpenVINO is opened, asked for devices, loads a model or hears with it: with status 0.
 * run.sh tries many moments.
 *
 *     early_exit MS               main returns while devices are asked for
 *     early_exit MS SPEECH        ... while a model loads or hears, of an engine that another thread made
 *     early_exit MS SPEECH hears  ... while it hears
 *     early_exit MS SPEECH exit   a third thread calls exit while it hears
 *     early_exit MS SPEECH free   main returns while a third thread frees the engine
 *     early_exit MS SPEECH log    ... when the engine was freed inside the log callback, where that does not wait
 */
#include "check.h"

static fluid_engine *engine;
static int heard, ending, freed;

/* Nothing fails before the end begins. */
static fluid_status goes_on(fluid_status status) {
    CHECK(status == FLUID_OK || GET(ending));
    return status;
}

static void *asks(void *argument) {
    char *json = NULL;
    (void)argument;
    goes_on(fluid_devices(engine, &json));
    return NULL;
}

static void *loads_and_hears(void *speech) {
    static int16_t silence[16000];
    fluid_audio audio = {sizeof audio, FLUID_AUDIO_PCM_I16, silence, sizeof silence, 16000, 1};
    fluid_model *model = NULL;
    engine = new_engine(NULL);
    fluid_status status = goes_on(fluid_load_model(engine, speech, NULL, NULL, NULL, &model));
    while (status == FLUID_OK) {
        char *json = NULL;
        status = goes_on(fluid_transcribe(model, &audio, NULL, NULL, NULL, &json));
        fluid_string_free(json);
        SET(heard, 1);
    }
    return NULL;
}

static void *ends(void *unused) {
    (void)unused;
    exit(0);
}

static void *frees(void *unused) {
    (void)unused;
    fluid_engine_free(engine);
    return NULL;
}

/* On the thread of another load. */
static void log_frees(fluid_log_level level, const char *line, void *user_data) {
    (void)level;
    (void)user_data;
    if (strstr(line, "missing.gguf") != NULL) {
        CHECK(fluid_engine_free(engine) == FLUID_OK);
        SET(freed, 1);
    }
}

/* Registered before OpenVINO is opened, so it runs when OpenVINO's static objects are gone: whoever still uses them has
 * time to fail. */
static void lingers(void) {
    sleep_ms(100);
}

static void wait_for(int *flag) {
    while (!GET(*flag)) {
        sleep_ms(1);
    }
}

int main(int argc, char **argv) {
    CHECK(argc > 1 && atexit(lingers) == 0);
    const char *mode = argc > 3 ? argv[3] : "";
    if (argc > 2) {
        run_thread(loads_and_hears, argv[2]);
    } else {
        engine = new_engine(NULL);
        run_thread(asks, NULL);
    }
    if (strcmp(mode, "hears") == 0 || strcmp(mode, "exit") == 0) {
        wait_for(&heard);
    }
    sleep_ms(atoi(argv[1]));
    SET(ending, 1);
    if (strcmp(mode, "exit") == 0) {
        run_thread(ends, NULL);
        sleep_ms(20000);
        return 1;
    }
    if (strcmp(mode, "free") == 0) {
        run_thread(frees, NULL);
        sleep_ms(2); /* it has begun */
    } else if (strcmp(mode, "log") == 0) {
        fluid_job *job = NULL;
        EXPECT(fluid_log_set(log_frees, NULL, FLUID_LOG_ERROR), FLUID_OK);
        EXPECT(fluid_load_model_start(engine, "./missing.gguf", NULL, &job), FLUID_OK);
        wait_for(&freed);
    }
    return 0;
}
