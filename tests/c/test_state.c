/* Saving states and bringing them back: in a fresh engine the next answer is the same and need not
 * compute its prompt; files that do not fit are refused; what is stopped leaves nothing behind.
 *
 *     test_state MODEL TINY
 */
#include "check.h"

#include <errno.h>
#include <sys/stat.h>

#define STATE_LOAD "{\"n_ctx\": 512, \"n_parallel\": 2, \"n_threads\": 1}"
#define PROMPT "Of the sea, the wind, the ships and those who sail them, much has been told and more is true."
#define REQUEST "{\"prompt\": \"" PROMPT "\", \"max_tokens\": 12, \"temperature\": 0, " NO_END "}"

static const char *path, *tiny;
static char folder[64], file[96], other[96];

static size_t read_file(const char *name, char **bytes) {
    FILE *stream = fopen(name, "rb");
    CHECK(stream != NULL && fseek(stream, 0, SEEK_END) == 0);
    long length = ftell(stream);
    CHECK(length > 0 && fseek(stream, 0, SEEK_SET) == 0);
    *bytes = malloc((size_t)length);
    CHECK(*bytes != NULL && fread(*bytes, 1, (size_t)length, stream) == (size_t)length);
    CHECK(fclose(stream) == 0);
    return (size_t)length;
}

static void write_file(const char *name, const char *bytes, size_t length) {
    FILE *stream = fopen(name, "wb");
    CHECK(stream != NULL && fwrite(bytes, 1, length, stream) == length && fclose(stream) == 0);
}

/* The number behind `key` in `json`. */
static long number(const char *json, const char *key) {
    const char *place = strstr(json, key);
    CHECK(place != NULL);
    return strtol(place + strlen(key), NULL, 10);
}

/* Generates REQUEST; returns how much of its prompt was there, and the text in `text`. */
static long cached(fluid_model *model, char text[512]) {
    char *json = NULL;
    EXPECT(fluid_generate(model, REQUEST, NULL, NULL, &json), FLUID_OK);
    const char *start = strstr(json, "\"text\":\"");
    CHECK(start != NULL);
    const char *end = strstr(start, "\"logprobs\"");
    CHECK(end != NULL && end - start < 512);
    memcpy(text, start, (size_t)(end - start));
    text[end - start] = 0;
    long count = number(json, "\"cached_tokens\":");
    fluid_string_free(json);
    return count;
}

struct seen {
    int progress, ends, stop_at;
    fluid_status status;
    double last;
};

static int32_t look(const fluid_event *event, void *user_data) {
    struct seen *seen = user_data;
    CHECK(seen->ends == 0 && event->progress >= seen->last);
    seen->last = event->progress;
    if (event->kind == FLUID_EVENT_END) {
        seen->ends++;
        seen->status = event->status;
        return 0;
    }
    CHECK(event->kind == FLUID_EVENT_PROGRESS);
    return ++seen->progress == seen->stop_at;
}

static void save_and_restore(void) {
    struct seen seen = {0, 0, 0, -1, 0};
    char *json = NULL, text[512], again[512];
    fluid_engine *engine = new_engine(NULL);
    fluid_model *model = load(engine, path, STATE_LOAD);
    EXPECT(fluid_model_save_state(model, REQUEST, file, look, &seen, &json), FLUID_OK);
    CHECK(seen.progress > 0 && seen.ends == 1 && seen.status == FLUID_OK && strstr(json, file) != NULL);
    struct stat status;
    CHECK(stat(file, &status) == 0 && number(json, "\"bytes\":") == (long)status.st_size);
    long tokens = number(json, "\"tokens\":");
    CHECK(tokens > 10);
    fluid_string_free(json);
    CHECK(cached(model, text) == tokens); /* it stays in the KV cache too */
    EXPECT(fluid_engine_free(engine), FLUID_OK);

    engine = new_engine(NULL);
    model = load(engine, path, STATE_LOAD);
    struct seen restored = {0, 0, 0, -1, 0};
    EXPECT(fluid_model_restore_state(model, file, look, &restored, &json), FLUID_OK);
    CHECK(restored.progress > 0 && restored.ends == 1 && number(json, "\"tokens\":") == tokens);
    fluid_string_free(json);
    CHECK(cached(model, again) == tokens && strcmp(text, again) == 0);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(count_entries(folder) == 1);
}

static void jobs(fluid_model *model) {
    fluid_job *saved = NULL, *restored = NULL;
    const char *json = NULL;
    char text[512];
    EXPECT(fluid_model_save_state_start(model, REQUEST, other, &saved), FLUID_OK);
    CHECK(drain(saved) == FLUID_OK);
    EXPECT(fluid_job_json(saved, &json), FLUID_OK);
    EXPECT(fluid_model_restore_state_start(model, other, &restored), FLUID_OK);
    CHECK(drain(restored) == FLUID_OK);
    EXPECT(fluid_job_json(restored, &json), FLUID_OK);
    CHECK(cached(model, text) == number(json, "\"tokens\":"));
    EXPECT(fluid_job_free(saved), FLUID_OK);
    EXPECT(fluid_job_free(restored), FLUID_OK);
    CHECK(remove(other) == 0);
}

/* Files that were cut or altered, are longer, or are none. */
static void damaged(fluid_model *model) {
    const fluid_status invalid = FLUID_ERROR_INVALID_STATE;
    char *bytes = NULL, *json = NULL;
    size_t length = read_file(file, &bytes);
    const size_t places[] = {8, 12, 16, 40, 700, length / 2, length - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        bytes[places[i]] ^= 16;
        write_file(other, bytes, length);
        EXPECT_SAYS(fluid_model_restore_state(model, other, NULL, NULL, &json), invalid, other);
        bytes[places[i]] ^= 16;
        write_file(other, bytes, places[i]);
        EXPECT_SAYS(fluid_model_restore_state(model, other, NULL, NULL, &json), invalid, "is cut");
    }
    write_file(other, bytes, length);
    FILE *stream = fopen(other, "ab");
    CHECK(stream != NULL && fputc('!', stream) == '!' && fclose(stream) == 0);
    EXPECT_SAYS(fluid_model_restore_state(model, other, NULL, NULL, &json), invalid, "1 bytes more");
    EXPECT_SAYS(fluid_model_restore_state(model, path, NULL, NULL, &json), invalid, "is no saved state");
    EXPECT_SAYS(fluid_model_restore_state(model, folder, NULL, NULL, &json), invalid, "is not a file");
    EXPECT_SAYS(fluid_model_restore_state(model, "/no/such", NULL, NULL, &json), FLUID_ERROR_NOT_FOUND, "/no/such");
    CHECK(json == NULL && remove(other) == 0);
    free(bytes);
}

/* One bit of the weights makes another model. */
static void another_model(fluid_engine *engine) {
    char *bytes = NULL, copy[96];
    size_t length = read_file(tiny, &bytes);
    snprintf(copy, sizeof copy, "%s/copy.gguf", folder);
    fluid_model *model = load(engine, tiny, STATE_LOAD);
    EXPECT(fluid_model_save_state(model, REQUEST, other, NULL, NULL, NULL), FLUID_OK);
    EXPECT(fluid_model_free(model), FLUID_OK);
    bytes[length - 5] ^= 1;
    write_file(copy, bytes, length);
    model = load(engine, copy, STATE_LOAD);
    EXPECT_SAYS(fluid_model_restore_state(model, other, NULL, NULL, NULL), FLUID_ERROR_INVALID_STATE, "another model");
    EXPECT(fluid_model_free(model), FLUID_OK);
    CHECK(remove(copy) == 0 && remove(other) == 0);
    free(bytes);
}

static void unwritable(fluid_model *model) {
    char inside[128];
    snprintf(inside, sizeof inside, "%s/state", file);
    const fluid_status not_found = FLUID_ERROR_NOT_FOUND;
    EXPECT_SAYS(fluid_model_save_state(model, REQUEST, inside, NULL, NULL, NULL), not_found, inside);
    EXPECT_SAYS(fluid_model_save_state(model, REQUEST, "/no/such", NULL, NULL, NULL), not_found, "/no/such");
    EXPECT_SAYS(fluid_model_save_state(model, REQUEST, folder, NULL, NULL, NULL), FLUID_ERROR_INVALID_ARGUMENT, folder);
    EXPECT_SAYS(fluid_model_save_state(model, REQUEST, "/proc/state", NULL, NULL, NULL), FLUID_ERROR_IO, "/proc/state");
    EXPECT_SAYS(fluid_model_save_state(model, "{}", other, NULL, NULL, NULL), FLUID_ERROR_INVALID_REQUEST, "messages");
}

static void stopped(fluid_model *model) {
    struct seen seen = {0, 0, 1, -1, 0};
    char *json = NULL;
    /* A prompt that nothing before has left in the KV cache. */
    EXPECT(fluid_model_save_state(model, "{\"prompt\": \"Nothing begins like this one does.\"}", other, look, &seen, &json),
           FLUID_CANCELLED);
    CHECK(strcmp(json, "{}") == 0 && count_entries(folder) == 1);
    fluid_string_free(json);
    fluid_job *job = NULL;
    EXPECT(fluid_model_save_state_start(model, REQUEST, other, &job), FLUID_OK);
    EXPECT(fluid_job_cancel(job), FLUID_OK);
    fluid_status status = drain(job);
    CHECK(status == FLUID_CANCELLED || status == FLUID_OK); /* it may have been faster */
    CHECK((access(other, F_OK) == 0) == (status == FLUID_OK));
    EXPECT(fluid_job_free(job), FLUID_OK);
    remove(other);
    EXPECT(fluid_model_restore_state_start(model, file, &job), FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    CHECK(count_entries(folder) == 1);
}

/* Jobs that run when their model is freed. */
static void freed(fluid_engine *engine) {
    fluid_model *model = load(engine, path, STATE_LOAD);
    fluid_job *saved[4] = {NULL}, *restored[4] = {NULL};
    for (int i = 0; i < 4; i++) {
        EXPECT(fluid_model_save_state_start(model, REQUEST, other, &saved[i]), FLUID_OK);
        EXPECT(fluid_model_restore_state_start(model, file, &restored[i]), FLUID_OK);
    }
    sleep_ms(3);
    EXPECT(fluid_model_free(model), FLUID_OK);
    remove(other);
    CHECK(count_entries(folder) == 1); /* nobody writes any more */
    for (int i = 0; i < 4; i++) {
        fluid_status one = drain(saved[i]), two = drain(restored[i]);
        CHECK((one == FLUID_OK || one == FLUID_CANCELLED) && (two == FLUID_OK || two == FLUID_CANCELLED));
        EXPECT(fluid_job_free(saved[i]), FLUID_OK);
        EXPECT(fluid_job_free(restored[i]), FLUID_OK);
    }
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    path = argv[1];
    tiny = argv[2];
    snprintf(folder, sizeof folder, "/tmp/fluid-state-%ld", (long)getpid());
    CHECK(mkdir(folder, 0700) == 0 || errno == EEXIST);
    snprintf(file, sizeof file, "%s/state", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    save_and_restore();
    fluid_engine *engine = new_engine(NULL);
    fluid_model *model = load(engine, path, STATE_LOAD);
    jobs(model);
    damaged(model);
    unwritable(model);
    stopped(model);
    EXPECT(fluid_model_free(model), FLUID_OK);
    another_model(engine);
    freed(engine);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(remove(file) == 0 && rmdir(folder) == 0);
    return 0;
}
