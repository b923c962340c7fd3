/* The process ends while OpenVINO is opened, asked for devices, loads a model or hears with it: with status 0.
 * run.sh tries many moments.
 *
 *     early_exit MS              main returns while devices are asked for
 *     early_exit MS SPEECH       ... while a model loads or hears, of an engine that another thread made
 *     early_exit MS SPEECH exit  a third thread calls exit while such a model hears
 */
#include "check.h"

static fluid_engine *engine;
static int heard;

static void *asks(void *argument) {
    char *json = NULL;
    (void)argument;
    fluid_devices(engine, &json);
    return NULL;
}

static void *loads_and_hears(void *speech) {
    static int16_t silence[16000];
    fluid_audio audio = {sizeof audio, FLUID_AUDIO_PCM_I16, silence, sizeof silence, 16000, 1};
    fluid_model *model = NULL;
    engine = new_engine(NULL);
    fluid_status status = fluid_load_model(engine, speech, NULL, NULL, NULL, &model);
    while (status == FLUID_OK) {
        char *json = NULL;
        status = fluid_transcribe(model, &audio, NULL, NULL, NULL, &json);
        fluid_string_free(json);
        SET(heard, 1);
    }
    return NULL;
}

static void *ends(void *ms) {
    sleep_ms(atoi(ms));
    exit(0);
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    if (argc > 2) {
        run_thread(loads_and_hears, argv[2]);
    } else {
        engine = new_engine(NULL);
        run_thread(asks, NULL);
    }
    if (argc > 3) {
        while (!GET(heard)) {
            sleep_ms(1);
        }
        run_thread(ends, argv[1]);
        sleep_ms(20000);
        return 1;
    }
    sleep_ms(atoi(argv[1]));
    return 0;
}
