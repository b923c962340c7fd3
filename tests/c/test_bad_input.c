/* Whatever a caller gets wrong is a status with a message; outputs stay as they were, and the
 * engine works on.
 *
 *     test_bad_input MODEL
 */
#include "check.h"

#include <sys/stat.h>

/* Outputs hold this before each call that fails, and after it. */
static char sentinel;
#define UNTOUCHED(place) ((const void *)(place) == (const void *)&sentinel)

struct outputs {
    fluid_engine *engine;
    fluid_model *model;
    fluid_job *job;
    fluid_queue *queue;
    const fluid_event *event;
    char *text;
    const char *json;
};
static struct outputs out;

static void prepare(void) {
    out.engine = (fluid_engine *)&sentinel;
    out.model = (fluid_model *)&sentinel;
    out.job = (fluid_job *)&sentinel;
    out.queue = (fluid_queue *)&sentinel;
    out.event = (const fluid_event *)(const void *)&sentinel;
    out.text = &sentinel;
    out.json = &sentinel;
}

static void untouched(void) {
    CHECK(UNTOUCHED(out.engine) && UNTOUCHED(out.model) && UNTOUCHED(out.job) && UNTOUCHED(out.queue));
    CHECK(UNTOUCHED(out.event) && UNTOUCHED(out.text) && UNTOUCHED(out.json));
}

#define FAILS(call, want, words)    \
    do {                            \
        prepare();                  \
        EXPECT_SAYS(call, want, words); \
        untouched();                \
    } while (0)

static fluid_engine *engine;
static fluid_model *model;
static fluid_job *job;
static fluid_queue *queue;
static const char *path;

static void null_pointers(void) {
    const fluid_status argument = FLUID_ERROR_INVALID_ARGUMENT, handle = FLUID_ERROR_INVALID_HANDLE;
    FAILS(fluid_engine_new(NULL, NULL), argument, "out_engine is NULL");
    FAILS(fluid_load_model(engine, path, NULL, NULL, NULL, NULL), argument, "out_model is NULL");
    FAILS(fluid_load_model(engine, NULL, NULL, NULL, NULL, &out.model), argument, "name is NULL");
    FAILS(fluid_load_model(NULL, path, NULL, NULL, NULL, &out.model), handle, "is NULL");
    FAILS(fluid_load_model_start(engine, path, NULL, NULL), argument, "out_job is NULL");
    FAILS(fluid_load_model_start(engine, NULL, NULL, &out.job), argument, "name is NULL");
    FAILS(fluid_load_model_start(NULL, path, NULL, &out.job), handle, "is NULL");
    FAILS(fluid_devices(engine, NULL), argument, "out_json is NULL");
    FAILS(fluid_devices((fluid_engine *)(void *)model, &out.text), handle, "is no handle of this kind");
    FAILS(fluid_doctor(engine, NULL, NULL), argument, "out_json is NULL");
    FAILS(fluid_doctor(engine, "{\"model\": 1}", &out.text), FLUID_ERROR_INVALID_REQUEST, "model: is not an option");
    FAILS(fluid_model_info(model, NULL), argument, "out_json is NULL");
    FAILS(fluid_model_info(NULL, &out.text), handle, "is NULL");
    FAILS(fluid_generate(NULL, SHORT, NULL, NULL, &out.text), handle, "is NULL");
    FAILS(fluid_generate(model, NULL, NULL, NULL, &out.text), argument, "request_json is NULL");
    FAILS(fluid_generate_start(NULL, SHORT, &out.job), handle, "is NULL");
    FAILS(fluid_generate_start(model, NULL, &out.job), argument, "request_json is NULL");
    FAILS(fluid_generate_start(model, SHORT, NULL), argument, "out_job is NULL");
    FAILS(fluid_model_save_state(NULL, SHORT, "state", NULL, NULL, &out.text), handle, "is NULL");
    FAILS(fluid_model_save_state(model, NULL, "state", NULL, NULL, &out.text), argument, "request_json is NULL");
    FAILS(fluid_model_save_state(model, SHORT, NULL, NULL, NULL, &out.text), argument, "path is NULL");
    FAILS(fluid_model_save_state_start(NULL, SHORT, "state", &out.job), handle, "is NULL");
    FAILS(fluid_model_save_state_start(model, NULL, "state", &out.job), argument, "request_json is NULL");
    FAILS(fluid_model_save_state_start(model, SHORT, NULL, &out.job), argument, "path is NULL");
    FAILS(fluid_model_save_state_start(model, SHORT, "state", NULL), argument, "out_job is NULL");
    FAILS(fluid_model_restore_state(NULL, "state", NULL, NULL, &out.text), handle, "is NULL");
    FAILS(fluid_model_restore_state(model, NULL, NULL, NULL, &out.text), argument, "path is NULL");
    FAILS(fluid_model_restore_state_start(NULL, "state", &out.job), handle, "is NULL");
    FAILS(fluid_model_restore_state_start(model, NULL, &out.job), argument, "path is NULL");
    FAILS(fluid_model_restore_state_start(model, "state", NULL), argument, "out_job is NULL");
    FAILS(fluid_job_next(NULL, 0, &out.event), handle, "is NULL");
    FAILS(fluid_job_next(job, 0, NULL), argument, "out_event is NULL");
    FAILS(fluid_job_cancel(NULL), handle, "is NULL");
    FAILS(fluid_job_json(NULL, &out.json), handle, "is NULL");
    FAILS(fluid_job_json(job, NULL), argument, "out_json is NULL");
    FAILS(fluid_job_take_model(NULL, &out.model), handle, "is NULL");
    FAILS(fluid_job_take_model(job, NULL), argument, "out_model is NULL");
    FAILS(fluid_job_attach(NULL, queue), handle, "is NULL");
    FAILS(fluid_job_attach(job, NULL), handle, "is NULL");
    FAILS(fluid_queue_new(NULL), argument, "out_queue is NULL");
    FAILS(fluid_queue_next(NULL, 0, &out.job, &out.event), handle, "is NULL");
    FAILS(fluid_queue_next(queue, 0, NULL, &out.event), argument, "out_job is NULL");
    FAILS(fluid_queue_next(queue, 0, &out.job, NULL), argument, "out_event is NULL");
    EXPECT(fluid_engine_free(NULL), FLUID_OK);
    EXPECT(fluid_model_free(NULL), FLUID_OK);
    EXPECT(fluid_job_free(NULL), FLUID_OK);
    EXPECT(fluid_queue_free(NULL), FLUID_OK);
    fluid_string_free(NULL);
}

/* Each function with `wrong` in place of its handle; `right` is the one kind it may be of. */
static void bad_handle(void *wrong, const void *right) {
    const fluid_status bad = FLUID_ERROR_INVALID_HANDLE;
    if (right != engine) {
        FAILS(fluid_load_model(wrong, path, NULL, NULL, NULL, &out.model), bad, "engine: the handle");
        FAILS(fluid_load_model_start(wrong, path, NULL, &out.job), bad, "engine: the handle");
        FAILS(fluid_engine_free(wrong), bad, "engine: the handle");
    }
    if (right != model) {
        FAILS(fluid_model_info(wrong, &out.text), bad, "model: the handle");
        FAILS(fluid_generate(wrong, SHORT, NULL, NULL, &out.text), bad, "model: the handle");
        FAILS(fluid_generate_start(wrong, SHORT, &out.job), bad, "model: the handle");
        FAILS(fluid_model_save_state(wrong, SHORT, "state", NULL, NULL, &out.text), bad, "model: the handle");
        FAILS(fluid_model_save_state_start(wrong, SHORT, "state", &out.job), bad, "model: the handle");
        FAILS(fluid_model_restore_state(wrong, "state", NULL, NULL, &out.text), bad, "model: the handle");
        FAILS(fluid_model_restore_state_start(wrong, "state", &out.job), bad, "model: the handle");
        FAILS(fluid_model_free(wrong), bad, "model: the handle");
    }
    if (right != job) {
        FAILS(fluid_job_next(wrong, 0, &out.event), bad, "job: the handle");
        FAILS(fluid_job_cancel(wrong), bad, "job: the handle");
        FAILS(fluid_job_json(wrong, &out.json), bad, "job: the handle");
        FAILS(fluid_job_take_model(wrong, &out.model), bad, "job: the handle");
        FAILS(fluid_job_attach(wrong, queue), bad, "job: the handle");
        FAILS(fluid_job_free(wrong), bad, "job: the handle");
    }
    if (right != queue) {
        FAILS(fluid_queue_next(wrong, 0, &out.job, &out.event), bad, "queue: the handle");
        FAILS(fluid_job_attach(job, wrong), bad, "queue: the handle");
        FAILS(fluid_queue_free(wrong), bad, "queue: the handle");
    }
}

static void foreign_handles(void) {
    int local = 0;
    void *heap = malloc(64);
    bad_handle(&local, NULL);
    bad_handle(heap, NULL);
    bad_handle((void *)1, NULL);
    bad_handle((void *)-1, NULL);
    bad_handle((void *)(uintptr_t)0xf1d1000000000000u, NULL);
    bad_handle((void *)(uintptr_t)0xf1d2ffffffffffffu, NULL);
    bad_handle((char *)engine + 1, NULL);
    bad_handle((char *)model - 1, NULL);
    bad_handle(engine, engine);
    bad_handle(model, model);
    bad_handle(job, job);
    bad_handle(queue, queue);
    free(heap);
}

/* Freed handles stay invalid when their place is used again. */
static void stale_handles(void) {
    void *freed[8];
    fluid_engine *old_engine = new_engine(NULL), *next_engine = NULL;
    fluid_model *old_model = load(old_engine, path, LOAD);
    fluid_job *old_job = start(old_model, SHORT);
    fluid_queue *old_queue = NULL;
    EXPECT(fluid_queue_new(&old_queue), FLUID_OK);
    freed[0] = old_engine, freed[1] = old_model, freed[2] = old_job, freed[3] = old_queue;
    EXPECT(fluid_job_free(old_job), FLUID_OK);
    EXPECT(fluid_queue_free(old_queue), FLUID_OK);
    EXPECT(fluid_model_free(old_model), FLUID_OK);
    EXPECT(fluid_engine_free(old_engine), FLUID_OK);
    for (int i = 0; i < 4; i++) {
        bad_handle(freed[i], NULL);
    }
    FAILS(fluid_engine_free(old_engine), FLUID_ERROR_INVALID_HANDLE, "was freed");
    next_engine = new_engine(NULL);
    CHECK(next_engine != old_engine);
    for (int i = 0; i < 4; i++) {
        bad_handle(freed[i], NULL);
    }
    /* A model goes with its engine, its handle too. */
    old_model = load(next_engine, path, LOAD);
    EXPECT(fluid_engine_free(next_engine), FLUID_OK);
    FAILS(fluid_model_info(old_model, &out.text), FLUID_ERROR_INVALID_HANDLE, "freed");
    FAILS(fluid_generate_start(old_model, SHORT, &out.job), FLUID_ERROR_INVALID_HANDLE, "freed");
    EXPECT(fluid_model_free(old_model), FLUID_ERROR_INVALID_HANDLE);
}

static void bad_texts(void) {
    const fluid_status utf8 = FLUID_ERROR_INVALID_UTF8, json = FLUID_ERROR_INVALID_JSON;
    static char deep[200001];
    FAILS(fluid_engine_new("{\"max_queue\": \xff}", &out.engine), utf8, "options_json is not UTF-8 from byte 14 on");
    FAILS(fluid_load_model(engine, "models/\xc3\x28", NULL, NULL, NULL, &out.model), utf8, "name is not UTF-8");
    FAILS(fluid_load_model_start(engine, path, "\xed\xa0\x80", &out.job), utf8, "options_json is not UTF-8");
    FAILS(fluid_generate(model, "{\"prompt\": \"\xf0\x9f\"}", NULL, NULL, &out.text), utf8, "request_json is not UTF-8");
    FAILS(fluid_engine_new("{\"max_queue\": }", &out.engine), json, "line 1 column 15");
    FAILS(fluid_load_model(engine, path, "{\n  \"n_ctx\": 64,\n  oops\n}", NULL, NULL, &out.model), json, "line 3 column 3");
    FAILS(fluid_generate(model, "{\"prompt\": \"a\"", NULL, NULL, &out.text), json, "line 1");
    FAILS(fluid_generate(model, "", NULL, NULL, &out.text), json, "");
    FAILS(fluid_generate_start(model, "{} {}", &out.job), json, "line 1");
    FAILS(fluid_generate_start(model, "{\"prompt\": \"\\ud800\"}", &out.job), json, "line 1");
    memset(deep, '[', sizeof deep - 1);
    FAILS(fluid_generate_start(model, deep, &out.job), json, "line 1");
}

static void wrong_fields(void) {
    static const struct {
        const char *request;
        fluid_status status;
        const char *words;
    } cases[] = {
        {"[]", FLUID_ERROR_INVALID_REQUEST, "object"},
        {"{}", FLUID_ERROR_INVALID_REQUEST, "messages"},
        {"{\"prompt\": 7}", FLUID_ERROR_INVALID_REQUEST, "prompt"},
        {"{\"prompt\": [1, -1]}", FLUID_ERROR_INVALID_REQUEST, "prompt[1]"},
        {"{\"prompt\": [4000000000]}", FLUID_ERROR_INVALID_REQUEST, "prompt[0]"},
        {"{\"prompt\": \"a\", \"messages\": []}", FLUID_ERROR_INVALID_REQUEST, "prompt"},
        {"{\"prompt\": \"a\", \"max_tokens\": \"7\"}", FLUID_ERROR_INVALID_REQUEST, "max_tokens"},
        {"{\"prompt\": \"a\", \"max_tokens\": -1}", FLUID_ERROR_INVALID_REQUEST, "max_tokens"},
        {"{\"prompt\": \"a\", \"temperature\": -0.5}", FLUID_ERROR_INVALID_REQUEST, "temperature"},
        {"{\"prompt\": \"a\", \"top_p\": 1.5}", FLUID_ERROR_INVALID_REQUEST, "top_p"},
        {"{\"prompt\": \"a\", \"stop\": [\"x\", 2]}", FLUID_ERROR_INVALID_REQUEST, "stop[1]"},
        {"{\"prompt\": \"a\", \"logit_bias\": {\"x\": \"y\"}}", FLUID_ERROR_INVALID_REQUEST, "logit_bias.x"},
        {"{\"prompt\": \"a\", \"deadline_ms\": 0}", FLUID_ERROR_INVALID_REQUEST, "deadline_ms"},
        {"{\"messages\": {}}", FLUID_ERROR_INVALID_REQUEST, "messages"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": 3, \"content\": \"b\"}]}",
         FLUID_ERROR_INVALID_REQUEST, "messages[1].role"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": 3}]}", FLUID_ERROR_INVALID_REQUEST, "messages[0].content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{}]}", FLUID_ERROR_INVALID_REQUEST,
         "tools[0].type"},
        {"{\"prompt\": \"a\", \"functions\": [{}]}", FLUID_ERROR_UNSUPPORTED, "functions"},
        {"{\"prompt\": \"a\", \"n\": 129}", FLUID_ERROR_INVALID_REQUEST, "n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FAILS(fluid_generate_start(model, cases[i].request, &out.job), cases[i].status, cases[i].words);
        FAILS(fluid_generate(model, cases[i].request, NULL, NULL, &out.text), cases[i].status, cases[i].words);
    }
    FAILS(fluid_engine_new("{\"threads\": 2}", &out.engine), FLUID_ERROR_INVALID_REQUEST, "threads");
    FAILS(fluid_engine_new("{\"max_queue\": 0}", &out.engine), FLUID_ERROR_INVALID_REQUEST, "max_queue");
    FAILS(fluid_load_model(engine, path, "{\"n_ctx\": \"512\"}", NULL, NULL, &out.model), FLUID_ERROR_INVALID_REQUEST, "n_ctx");
    FAILS(fluid_load_model(engine, path, "{\"nctx\": 512}", NULL, NULL, &out.model), FLUID_ERROR_INVALID_REQUEST, "nctx");
    FAILS(fluid_load_model(engine, path, "{\"device\": \"NPU\", \"device_fallback\": false}", NULL, NULL, &out.model),
          FLUID_ERROR_UNSUPPORTED, "device: there is no NPU");
    FAILS(fluid_load_model(engine, path, "{\"chat_template\": \"{{\"}", NULL, NULL, &out.model),
          FLUID_ERROR_INVALID_REQUEST, "chat_template");
}

/* A prompt too long for the context, by a little and by a lot. */
static void long_prompts(void) {
    static char request[1 << 20];
    size_t most = getenv("FLUID_SLOW") == NULL ? 200000 : 20000;
    int length = sprintf(request, "{\"prompt\": \"");
    for (size_t words = 600; words <= most; words = words == 600 ? most : words + 1) {
        memset(request + length, 'a', words * 2);
        for (size_t i = 0; i < words; i++) {
            request[length + (int)i * 2 + 1] = ' ';
        }
        strcpy(request + length + words * 2, "\"}");
        FAILS(fluid_generate(model, request, NULL, NULL, &out.text), FLUID_ERROR_CONTEXT_OVERFLOW, "tokens");
    }
}

static void write_file(const char *name, const char *data, size_t size) {
    FILE *file = fopen(name, "wb");
    CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* Loads `name` both ways. */
static void bad_file(const char *name, fluid_status want) {
    const fluid_event *event = NULL;
    fluid_job *loading = NULL;
    FAILS(fluid_load_model(engine, name, NULL, NULL, NULL, &out.model), want, name);
    EXPECT(fluid_load_model_start(engine, name, NULL, &loading), FLUID_OK);
    do {
        EXPECT(fluid_job_next(loading, -1, &event), FLUID_OK);
    } while (event->kind != FLUID_EVENT_END);
    CHECK(event->status == want && strstr(event->text, name) != NULL && event->text_len == strlen(event->text));
    FAILS(fluid_job_take_model(loading, &out.model), FLUID_ERROR_INVALID_ARGUMENT, "no model");
    EXPECT(fluid_job_free(loading), FLUID_OK);
}

static void bad_files(void) {
    static char head[100000];
    char folder[] = "/tmp/fluid-test-XXXXXX", name[64];
    FILE *whole = fopen(path, "rb");
    CHECK(mkdtemp(folder) != NULL && whole != NULL);
    CHECK(fread(head, 1, sizeof head, whole) == sizeof head && fclose(whole) == 0);
    snprintf(name, sizeof name, "%s/missing.gguf", folder);
    bad_file(name, FLUID_ERROR_NOT_FOUND);
    bad_file("", FLUID_ERROR_INVALID_ARGUMENT);
    bad_file(folder, FLUID_ERROR_NOT_FOUND);
    snprintf(name, sizeof name, "%s/file", folder);
    write_file(name, "", 0);
    bad_file(name, FLUID_ERROR_INVALID_MODEL);
    write_file(name, "This is a text, no model.\n", 26);
    bad_file(name, FLUID_ERROR_INVALID_MODEL);
    for (size_t size = 4; size < sizeof head; size = size * 3 + 1) { /* cut off */
        write_file(name, head, size);
        bad_file(name, FLUID_ERROR_INVALID_MODEL);
    }
    bad_file("/dev/null", FLUID_ERROR_INVALID_MODEL);
    bad_file("/dev/zero", FLUID_ERROR_INVALID_MODEL);
    CHECK(remove(name) == 0 && mkfifo(name, 0600) == 0);
    bad_file(name, FLUID_ERROR_INVALID_MODEL); /* nobody will ever write into it */
    CHECK(remove(name) == 0 && rmdir(folder) == 0);
}

static void names(void) {
    static const struct {
        fluid_status status;
        const char *name;
    } all[] = {
#define NAME(status) {status, #status}
        NAME(FLUID_OK), NAME(FLUID_TIMEOUT), NAME(FLUID_END), NAME(FLUID_CANCELLED), NAME(FLUID_DEADLINE),
        NAME(FLUID_ERROR_INVALID_ARGUMENT), NAME(FLUID_ERROR_INVALID_HANDLE), NAME(FLUID_ERROR_INVALID_UTF8),
        NAME(FLUID_ERROR_INVALID_JSON), NAME(FLUID_ERROR_INVALID_REQUEST), NAME(FLUID_ERROR_UNSUPPORTED),
        NAME(FLUID_ERROR_CONTEXT_OVERFLOW), NAME(FLUID_ERROR_NOT_FOUND), NAME(FLUID_ERROR_IO),
        NAME(FLUID_ERROR_INVALID_MODEL), NAME(FLUID_ERROR_UNSUPPORTED_MODEL), NAME(FLUID_ERROR_UNSUPPORTED_CPU), NAME(FLUID_ERROR_INVALID_AUDIO),
        NAME(FLUID_ERROR_INVALID_STATE), NAME(FLUID_ERROR_NETWORK), NAME(FLUID_ERROR_ACCESS_DENIED),
        NAME(FLUID_ERROR_DISK_FULL),
        NAME(FLUID_ERROR_BUSY), NAME(FLUID_ERROR_QUEUE_FULL), NAME(FLUID_ERROR_OUT_OF_MEMORY),
        NAME(FLUID_ERROR_BACKEND), NAME(FLUID_ERROR_BACKEND_MISSING), NAME(FLUID_ERROR_CALLBACK), NAME(FLUID_ERROR_FORKED), NAME(FLUID_ERROR_INTERNAL),
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK(strcmp(fluid_status_name(all[i].status), all[i].name) == 0);
    }
    for (fluid_status status = -1000; status < 1000; status++) {
        size_t known = 0;
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            known += all[i].status == status;
        }
        CHECK((strcmp(fluid_status_name(status), "unknown status") == 0) == (known == 0));
    }
    CHECK(fluid_abi_version() == FLUID_ABI_VERSION && strchr(fluid_version(), '.') != NULL);
}

int main(int argc, char **argv) {
    char *json = NULL;
    CHECK(argc > 1);
    path = argv[1];
    CHECK(fluid_last_error()[0] == 0);
    names();
    engine = new_engine(PAUSES);
    model = load(engine, path, LOAD);
    job = start(model, LONG);
    EXPECT(fluid_queue_new(&queue), FLUID_OK);
    null_pointers();
    foreign_handles();
    stale_handles();
    bad_texts();
    wrong_fields();
    bad_files();
    EXPECT(fluid_job_free(job), FLUID_OK);
    long_prompts();
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, &json), FLUID_OK);
    CHECK(strstr(json, "\"completion_tokens\":3") != NULL);
    fluid_string_free(json);
    EXPECT(fluid_queue_free(queue), FLUID_OK);
    EXPECT(fluid_model_free(model), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
