/* The process around the library: exits while it works, forks, silence. Each case runs in a process
 * of its own, which must end in time, with status 0 and without a word.
 *
 *     test_process MODEL [TINY LIBRARY [CASE]]
 */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static const char *path;
static fluid_engine *engine;
static fluid_model *model;

static void set_up(const char *options) {
    engine = new_engine(options);
    model = load(engine, path, LOAD);
}

static void *generates(void *argument) {
    while (fluid_generate(argument, LONG, NULL, NULL, NULL) == FLUID_OK) {
    }
    return NULL;
}

/* --- ends of the process --- */

static void returns_with_jobs(void) {
    set_up(NULL);
    for (int i = 0; i < 6; i++) {
        start(model, LONG);
    }
    run_thread(generates, model);
    sleep_ms(20);
}

static void returns_with_loads(void) {
    fluid_job *job = NULL;
    engine = new_engine(NULL);
    for (int i = 0; i < 3; i++) {
        EXPECT(fluid_load_model_start(engine, path, LOAD, &job), FLUID_OK);
    }
    sleep_ms((int)(getpid() % 16)); /* anywhere in the load */
}

static void returns_with_all(void) {
    fluid_job *job = NULL;
    returns_with_jobs();
    returns_with_loads();
    EXPECT(fluid_load_model_start(engine, path, "{\"deadline_ms\": 100000}", &job), FLUID_OK);
}

/* A chat's template is rendered by Rust's threads, whose traces on this thread are gone at exit. */
static void returns_after_chat(void) {
    set_up(NULL);
    EXPECT(fluid_generate(model, "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"max_tokens\": 2}", NULL, NULL,
                          NULL),
           FLUID_OK);
    start(model, LONG);
}

static int32_t exits(const fluid_event *event, void *user_data) {
    (void)user_data;
    if (event->kind != FLUID_EVENT_END) {
        exit(0);
    }
    return 0;
}

static void exits_in_callback(void) {
    set_up(NULL);
    start(model, LONG);
    fluid_generate(model, LONG, exits, NULL, NULL);
    CHECK(!"reached");
}

static void exits_in_load_callback(void) {
    engine = new_engine(NULL);
    fluid_load_model(engine, path, LOAD, exits, NULL, &model);
    CHECK(!"reached");
}

static void log_exits(fluid_log_level level, const char *line, void *user_data) {
    (void)level;
    (void)user_data;
    if (strstr(line, "loaded") != NULL) {
        exit(0);
    }
}

/* On the model's own thread. */
static void exits_in_log_callback(void) {
    EXPECT(fluid_log_set(log_exits, NULL, FLUID_LOG_INFO), FLUID_OK);
    engine = new_engine(NULL);
    fluid_load_model(engine, path, LOAD, NULL, NULL, &model);
    sleep_ms(60000); /* exit() runs on another thread */
}

static void *exits_soon(void *argument) {
    (void)argument;
    sleep_ms(20);
    exit(0);
    return NULL;
}

static void exits_on_other_thread(void) {
    set_up(NULL);
    run_thread(exits_soon, NULL);
    generates(model);
    sleep_ms(60000); /* the exit has ended the generation */
}

/* What a host's own exit handlers and static destructors do, after ours has run. Thread-local
 * values, last_error among them, are gone by then. */
static void frees_late(void) {
    const fluid_event *event = NULL;
    fluid_job *job = NULL;
    CHECK(fluid_engine_free(engine) == FLUID_ERROR_INVALID_HANDLE);
    CHECK(fluid_generate(model, SHORT, NULL, NULL, NULL) == FLUID_ERROR_INVALID_HANDLE);
    CHECK(fluid_model_free(model) == FLUID_OK);
    CHECK(fluid_job_next(job, 0, &event) == FLUID_ERROR_INVALID_HANDLE);
    CHECK(fluid_engine_new(NULL, &engine) == FLUID_OK);
    CHECK(fluid_load_model_start(engine, path, LOAD, &job) == FLUID_OK);
    do {
        CHECK(fluid_job_next(job, -1, &event) == FLUID_OK);
    } while (event->kind != FLUID_EVENT_END);
    CHECK(event->status == FLUID_OK && fluid_last_error()[0] == 0);
    CHECK(fluid_engine_free(engine) == FLUID_OK);
}

static void exit_handlers(void) {
    CHECK(atexit(frees_late) == 0);
    set_up(NULL);
    start(model, LONG);
}

/* --- forks --- */

static void in_child(fluid_queue *queue, fluid_job *job) {
    const fluid_status forked = FLUID_ERROR_FORKED;
    const fluid_event *event = NULL;
    const char *json = NULL;
    char *text = NULL;
    EXPECT_SAYS(fluid_engine_new(NULL, &engine), forked, "exec");
    EXPECT(fluid_load_model(engine, path, LOAD, NULL, NULL, &model), forked);
    EXPECT(fluid_load_model_start(engine, path, LOAD, &job), forked);
    EXPECT(fluid_model_info(model, &text), forked);
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, &text), forked);
    EXPECT(fluid_generate_start(model, SHORT, &job), forked);
    EXPECT(fluid_job_next(job, -1, &event), forked);
    EXPECT(fluid_job_cancel(job), forked);
    EXPECT(fluid_job_json(job, &json), forked);
    EXPECT(fluid_job_take_model(job, &model), forked);
    EXPECT(fluid_job_attach(job, queue), forked);
    EXPECT(fluid_job_free(job), forked);
    EXPECT(fluid_queue_new(&queue), forked);
    EXPECT(fluid_queue_next(queue, -1, &job, &event), forked);
    EXPECT(fluid_queue_free(queue), forked);
    EXPECT(fluid_log_set(NULL, NULL, FLUID_LOG_INFO), forked);
    EXPECT(fluid_model_free(model), forked);
    EXPECT(fluid_engine_free(engine), forked);
    CHECK(fluid_abi_version() == FLUID_ABI_VERSION && fluid_version()[0] != 0);
    CHECK(strcmp(fluid_status_name(forked), "FLUID_ERROR_FORKED") == 0);
    fluid_string_free(NULL);
}

/* Forks while the model's thread and others are at work; the child goes through exit(). */
static void forks(void) {
    fluid_queue *queue = NULL;
    fluid_job *job;
    set_up(NULL);
    EXPECT(fluid_queue_new(&queue), FLUID_OK);
    job = start(model, LONG);
    pthread_t thread = run_thread(generates, model);
    for (int i = 0; i < 10; i++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            in_child(queue, job);
            exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, NULL), FLUID_OK); /* the parent goes on */
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    pthread_join(thread, NULL);
}

/* --- several of each --- */

static void *same_text(void *argument) {
    fluid_model *own = argument;
    char *json = NULL, *text, *end;
    EXPECT(fluid_generate(own, "{\"prompt\": \"One, two,\", \"max_tokens\": 8, \"temperature\": 0, " NO_END "}", NULL, NULL, &json), FLUID_OK);
    text = strstr(json, "\"text\":");
    CHECK(text != NULL && (end = strstr(text, "\"logprobs\"")) != NULL);
    *end = 0;
    text = strdup(text);
    fluid_string_free(json);
    return text;
}

static void side_by_side(void) {
    fluid_engine *engines[2] = {new_engine(NULL), new_engine(PAUSES)};
    fluid_model *models[4];
    pthread_t threads[4];
    void *texts[4];
    for (int i = 0; i < 4; i++) { /* each loads the file twice */
        models[i] = load(engines[i / 2], path, LOAD);
    }
    for (int i = 0; i < 4; i++) {
        threads[i] = run_thread(same_text, models[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &texts[i]);
        CHECK(strcmp(texts[i], texts[0]) == 0);
    }
    EXPECT(fluid_engine_free(engines[0]), FLUID_OK);
    free(same_text(models[2])); /* the other engine is as it was */
    for (int i = 0; i < 4; i++) {
        free(texts[i]);
        /* the first engine took its two models along; the second one's are still open */
        EXPECT(fluid_model_free(models[i]), i < 2 ? FLUID_ERROR_INVALID_HANDLE : FLUID_OK);
    }
    EXPECT(fluid_engine_free(engines[1]), FLUID_OK);
}

static int32_t on_event_fork(const fluid_event *event, void *user_data) {
    pid_t *child = user_data;
    (void)event;
    if (*child == -1) {
        *child = fork();
    }
    return *child > 0; /* the parent cancels; the child goes back into the call */
}

static void forks_in_callback(void) {
    pid_t child = -1;
    int status = -1;
    set_up(NULL);
    fluid_status result = fluid_generate(model, LONG, on_event_fork, &child, NULL);
    if (child == 0) {
        _exit(result == FLUID_ERROR_FORKED ? 0 : 1);
    }
    CHECK(result == FLUID_CANCELLED);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

/* --- the parent --- */

static const struct {
    const char *name;
    void (*run)(void);
} CASES[] = {
    {"returns_with_jobs", returns_with_jobs},
    {"returns_with_loads", returns_with_loads},
    {"returns_with_all", returns_with_all},
    {"returns_after_chat", returns_after_chat},
    {"exits_in_callback", exits_in_callback},
    {"exits_in_load_callback", exits_in_load_callback},
    {"exits_in_log_callback", exits_in_log_callback},
    {"exits_on_other_thread", exits_on_other_thread},
    {"exit_handlers", exit_handlers},
    {"forks", forks},
    {"forks_in_callback", forks_in_callback},
    {"side_by_side", side_by_side},
};
enum { COUNT = sizeof CASES / sizeof CASES[0] };

/* Runs this program again for one case; `output` gets what it prints. Returns waitpid's status. */
static int run_case(char **argv, const char *name, char *output, size_t size) {
    int ends[2], status = 0;
    ssize_t got = 0, length = 0;
    CHECK(pipe(ends) == 0);
    pid_t child = fork(); /* before this process has an engine: allowed */
    CHECK(child >= 0);
    if (child == 0) {
        char *arguments[] = {argv[0], argv[1], argv[1], argv[1], argv[1], (char *)(uintptr_t)name, NULL};
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        alarm(60);
        execv(argv[0], arguments);
        _Exit(127);
    }
    close(ends[1]);
    while ((got = read(ends[0], output + length, size - 1 - (size_t)length)) > 0) {
        length += got;
    }
    output[length] = 0;
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    path = argv[1];
    for (int i = 0; i < COUNT; i++) {
        if (argc > 5 && strcmp(argv[5], CASES[i].name) == 0) {
            CASES[i].run();
            return 0;
        }
    }
    int failed = 0;
    CHECK(argc <= 5); /* no such case */
    for (int i = 0; i < COUNT; i++) {
        static char output[65536];
        double since = now();
        int rounds = i < 3 && getenv("FLUID_SLOW") == NULL ? 3 : 1;
        for (int round = 0; round < rounds; round++) {
            int status = run_case(argv, CASES[i].name, output, sizeof output);
            if (status != 0 || output[0] != 0) {
                fprintf(stderr, "%s: wait status 0x%x after %.1f s, output: \"%s\"\n", CASES[i].name, (unsigned)status,
                        now() - since, output);
                failed = 1;
            }
        }
    }
    return failed;
}
