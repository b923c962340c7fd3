/* Whatever a caller gets wrong about audio and the requests of a transcription is a status with a
 * message; outputs stay as they were. No model of speech is needed: a model of text refuses last.
 *
 *     test_audio MODEL
 */
#include "check.h"

/* Outputs hold this before each call that fails, and after it. */
static char sentinel;
static fluid_engine *engine;
static fluid_model *model;

/* Both calls fail alike and write nothing. */
static void fails(const fluid_audio *audio, const char *request, fluid_status want, const char *words) {
    char *text = &sentinel;
    fluid_job *job = (fluid_job *)(void *)&sentinel;
    EXPECT_SAYS(fluid_transcribe(model, audio, request, NULL, NULL, &text), want, words);
    EXPECT_SAYS(fluid_transcribe(model, audio, request, stop_at_once, NULL, NULL), want, words);
    EXPECT_SAYS(fluid_transcribe_start(model, audio, request, &job), want, words);
    CHECK(text == &sentinel && job == (fluid_job *)(void *)&sentinel);
}

/* The audio is well formed: only the model is the wrong one. */
static void passes(const fluid_audio *audio, const char *request) {
    fails(audio, request, FLUID_ERROR_UNSUPPORTED, "this model is loaded to generate text");
}

static fluid_audio pcm(fluid_audio_kind kind, const void *data, size_t bytes, uint32_t channels) {
    fluid_audio audio = {sizeof audio, kind, data, bytes, 16000, channels};
    return audio;
}

static void null_pointers_and_handles(void) {
    float samples[4] = {0};
    fluid_audio audio = pcm(FLUID_AUDIO_PCM_F32, samples, sizeof samples, 1);
    fluid_job *job = (fluid_job *)(void *)&sentinel;
    void *wrong[] = {NULL, engine, &audio, (void *)1, (char *)model + 1};
    fails(NULL, NULL, FLUID_ERROR_INVALID_ARGUMENT, "audio is NULL");
    EXPECT_SAYS(fluid_transcribe_start(model, &audio, NULL, NULL), FLUID_ERROR_INVALID_ARGUMENT, "out_job is NULL");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        fluid_model *handle = wrong[i];
        EXPECT_SAYS(fluid_transcribe(handle, &audio, NULL, NULL, NULL, NULL), FLUID_ERROR_INVALID_HANDLE, "model: the handle");
        EXPECT_SAYS(fluid_transcribe_start(handle, &audio, NULL, &job), FLUID_ERROR_INVALID_HANDLE, "model: the handle");
    }
    CHECK(job == (fluid_job *)(void *)&sentinel);
}

/* A struct of another size: shorter ones, on the heap with not a byte more; longer ones of a later header. */
static void sizes(void) {
    float samples[4] = {0};
    const uint32_t whole = sizeof(fluid_audio), wrong[] = {0, 1, 4, 8, 31, 4097, 0xcdcdcdcd, 0xffffffff};
    fluid_audio audio = pcm(FLUID_AUDIO_PCM_F32, samples, sizeof samples, 1);
    CHECK(whole == 32); /* of version 1; later ones are longer */
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t there = wrong[i] < 4 ? 4 : wrong[i] < whole ? wrong[i] : whole;
        void *place = malloc(there);
        CHECK(place != NULL);
        audio.struct_size = wrong[i];
        memcpy(place, &audio, there);
        fails(place, NULL, FLUID_ERROR_INVALID_ARGUMENT, "audio->struct_size is");
        free(place);
    }
    for (uint32_t more = 0; more <= 64; more += 8) {
        char *place = malloc(whole + more);
        CHECK(place != NULL);
        memset(place, 0xcd, whole + more);
        audio.struct_size = whole + more;
        memcpy(place, &audio, whole);
        passes((const fluid_audio *)(const void *)place, NULL);
        free(place);
    }
}

/* Samples, bytes, a path and the struct itself at odd places; exact blocks, so that a byte read
 * behind them is found. */
static void alignment(void) {
    char *block = malloc(65 + sizeof(fluid_audio));
    CHECK(block != NULL);
    memset(block, 0, 65 + sizeof(fluid_audio));
    for (size_t shift = 0; shift < 8; shift++) {
        fluid_audio audio = pcm(FLUID_AUDIO_PCM_F32, block + shift, 32, 2);
        passes(&audio, NULL);
        audio.kind = FLUID_AUDIO_PCM_I16;
        passes(&audio, NULL);
        audio.kind = FLUID_AUDIO_ENCODED;
        passes(&audio, NULL);
        memcpy(block + 65, &audio, sizeof audio);
        /* A managed host hands out any place in a byte array. */
        uintptr_t odd = (uintptr_t)(block + 65);
        passes((const fluid_audio *)odd, NULL);
    }
    free(block);
    for (size_t bytes = 1; bytes < 40; bytes += 13) {
        char *exact = malloc(bytes);
        CHECK(exact != NULL);
        memset(exact, 'x', bytes);
        fluid_audio audio = pcm(FLUID_AUDIO_ENCODED, exact, bytes, 0);
        passes(&audio, NULL);
        audio.kind = FLUID_AUDIO_PATH;
        passes(&audio, NULL);
        free(exact);
    }
}

static void samples(void) {
    const fluid_status argument = FLUID_ERROR_INVALID_ARGUMENT;
    static float data[64];
    const fluid_audio_kind kinds[] = {FLUID_AUDIO_PCM_F32, FLUID_AUDIO_PCM_I16};
    for (int i = 0; i < 2; i++) {
        size_t sample = i == 0 ? 4 : 2;
        fluid_audio good = pcm(kinds[i], data, 12 * sample, 3), bad = good;
        passes(&good, NULL);
        bad.rate = 0;
        fails(&bad, NULL, argument, "audio->rate is 0");
        bad = good, bad.channels = 0;
        fails(&bad, NULL, argument, "audio->channels is 0");
        bad = good, bad.channels = 5;
        fails(&bad, NULL, argument, "no multiple of a frame's");
        bad = good, bad.channels = 0xffffffff;
        fails(&bad, NULL, argument, "no multiple of a frame's");
        for (size_t cut = 1; cut < 3 * sample; cut++) {
            bad = good, bad.bytes -= cut;
            fails(&bad, NULL, argument, "no multiple of a frame's");
        }
        bad = good, bad.data = NULL;
        fails(&bad, NULL, argument, "audio->data is NULL, but audio->bytes is");
        bad = good, bad.channels = 1, bad.bytes = SIZE_MAX / sample * sample;
        fails(&bad, NULL, argument, "more than memory can hold");
        bad = good, bad.channels = 1, bad.bytes = (SIZE_MAX / 2 / 8 + 1) * 8;
        fails(&bad, NULL, argument, "more than memory can hold");
        bad = good, bad.bytes = 0;
        passes(&bad, NULL); /* no samples, and whether there is anything to hear is not asked here */
        bad.data = NULL;
        passes(&bad, NULL);
    }
}

static void bytes_and_paths(void) {
    const fluid_status argument = FLUID_ERROR_INVALID_ARGUMENT;
    fluid_audio audio = pcm(FLUID_AUDIO_ENCODED, "RIFF", 4, 0);
    audio.rate = 0; /* rate and channels are those of the file */
    passes(&audio, NULL);
    audio.data = NULL;
    fails(&audio, NULL, argument, "audio->data is NULL, but audio->bytes is 4");
    audio.bytes = SIZE_MAX;
    fails(&audio, NULL, argument, "more than memory can hold");
    audio.bytes = 0;
    passes(&audio, NULL);
    audio.kind = FLUID_AUDIO_PATH;
    fails(&audio, NULL, argument, "audio->data is NULL");
    audio.bytes = 4;
    fails(&audio, NULL, argument, "audio->data is NULL");
    audio.data = "a/b.wav", audio.bytes = 0;
    passes(&audio, NULL);
    audio.bytes = 7;
    passes(&audio, NULL);
    audio.bytes = 8; /* with the NUL */
    fails(&audio, NULL, argument, "a path with a NUL at byte 7 of 8");
    audio.data = "\xc3\x28.wav", audio.bytes = 0;
    fails(&audio, NULL, FLUID_ERROR_INVALID_UTF8, "audio->data is not UTF-8 from byte 0 on");
    audio.bytes = 6;
    fails(&audio, NULL, FLUID_ERROR_INVALID_UTF8, "audio->data is not UTF-8 from byte 0 on");
}

static void kinds(void) {
    const fluid_audio_kind wrong[] = {0, 5, -1, 100, INT32_MAX, INT32_MIN};
    float data[4] = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        fluid_audio audio = pcm(wrong[i], data, sizeof data, 1);
        fails(&audio, NULL, FLUID_ERROR_INVALID_ARGUMENT, "which is no FLUID_AUDIO_");
    }
}

static void requests(void) {
    static const struct {
        const char *request;
        fluid_status status;
        const char *words;
    } cases[] = {
        {"{\"language\": \"\xff\"}", FLUID_ERROR_INVALID_UTF8, "request_json is not UTF-8 from byte 14 on"},
        {"{\"language\": }", FLUID_ERROR_INVALID_JSON, "line 1 column 14"},
        {" ", FLUID_ERROR_INVALID_JSON, "request: is empty"},
        {"[]", FLUID_ERROR_INVALID_REQUEST, "object"},
        {"{\"language\": 1}", FLUID_ERROR_INVALID_REQUEST, "language: "},
        {"{\"response_format\": \"xml\"}", FLUID_ERROR_INVALID_REQUEST, "response_format: \"xml\" is not one of"},
        {"{\"temperature\": [0, 7]}", FLUID_ERROR_INVALID_REQUEST, "temperature[1]: "},
        {"{\"vad_parameters\": {\"threshold\": 7}}", FLUID_ERROR_INVALID_REQUEST, "vad_parameters.threshold: "},
        {"{\"deadline_ms\": 0}", FLUID_ERROR_INVALID_REQUEST, "deadline_ms: "},
        {"{\"beam_size\": 5}", FLUID_ERROR_UNSUPPORTED, "beam_size: "},
        {"{\"response_format\": \"diarized_json\"}", FLUID_ERROR_UNSUPPORTED, "response_format: "},
        {"{\"file\": \"a.wav\"}", FLUID_ERROR_UNSUPPORTED, "file: "},
    };
    float data[4] = {0};
    fluid_audio audio = pcm(FLUID_AUDIO_PCM_F32, data, sizeof data, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fails(&audio, cases[i].request, cases[i].status, cases[i].words);
    }
    passes(&audio, NULL);
    passes(&audio, "");
    passes(&audio, "{\"stream\": true, \"nobody\": 1, \"log_prob_threshold\": null, \"response_format\": \"vtt\"}");
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    int threads = count_entries("/proc/self/task"), files = count_entries("/proc/self/fd");
    engine = new_engine(NULL);
    model = load(engine, argv[1], LOAD);
    null_pointers_and_handles();
    sizes();
    alignment();
    samples();
    bytes_and_paths();
    kinds();
    requests();
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, NULL), FLUID_OK); /* the engine works on */
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(threads_settle(threads) == threads && count_entries("/proc/self/fd") == files);
    return 0;
}
