/* The blocking calls: events, their order and end, and what a callback may do.
 *
 *     test_generate MODEL
 */
#include "check.h"

#include <math.h>

static const char *path;

/* What one call of fluid_generate or fluid_load_model told its callback. */
struct seen {
    fluid_event_kind kind; /* events to expect beside the final one */
    int events, ends;
    fluid_status status;
    double progress, elapsed;
    int stop_at; /* the event at which to cancel, from 1; 0: never */
    pthread_t thread;
    size_t length;
    char text[16384], json[32768];
};

static int32_t look(const fluid_event *event, void *user_data) {
    struct seen *seen = user_data;
    CHECK(event->struct_size == sizeof(fluid_event));
    CHECK(seen->ends == 0); /* nothing comes after the end */
    CHECK(pthread_equal(seen->thread, pthread_self()));
    CHECK(event->text[event->text_len] == 0 && event->json[event->json_len] == 0);
    CHECK(event->choice == 0 && isnan(event->logprob) && event->age >= 0 && event->elapsed >= seen->elapsed);
    seen->elapsed = event->elapsed;
    seen->events++;
    if (event->kind == FLUID_EVENT_END) {
        seen->ends++;
        seen->status = event->status;
        CHECK(event->json_len < sizeof seen->json);
        memcpy(seen->json, event->json, event->json_len + 1);
    } else {
        CHECK(event->kind == seen->kind && event->status == FLUID_OK && event->json_len == 0);
        CHECK(event->progress >= seen->progress && event->progress <= 1);
        seen->progress = event->progress;
        CHECK(seen->length + event->text_len < sizeof seen->text);
        memcpy(seen->text + seen->length, event->text, event->text_len + 1);
        seen->length += event->text_len;
    }
    return seen->events == seen->stop_at;
}

static struct seen *nothing_seen(fluid_event_kind kind) {
    static struct seen seen;
    memset(&seen, 0, sizeof seen);
    seen.kind = kind;
    seen.thread = pthread_self();
    return &seen;
}

static int has(const char *json, const char *part) {
    return strstr(json, part) != NULL;
}

/* The JSON string after `key` is `text`; texts that JSON escapes are only compared up to there. */
static int holds_text(const char *json, const char *key, const char *text) {
    const char *place = strstr(json, key);
    CHECK(place != NULL);
    place += strlen(key);
    while (*place == *text && *text != 0 && *text != '"' && *text != '\\') {
        place++, text++;
    }
    return (*text == 0 && *place == '"') || *place == '\\';
}

static void whole_answer(fluid_model *model) {
    static const char request[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Name a river.\"}], \"max_tokens\": 24, \"seed\": 7, "
        "\"temperature\": 0.5, " NO_END "}";
    struct seen *seen = nothing_seen(FLUID_EVENT_TOKEN);
    char *json = NULL, *again = NULL;
    EXPECT(fluid_generate(model, request, look, seen, &json), FLUID_OK);
    CHECK(seen->ends == 1 && seen->status == FLUID_OK && seen->events >= 25 && seen->length > 0);
    CHECK(strcmp(json, seen->json) == 0);
    CHECK(holds_text(json, "\"content\":\"", seen->text));
    CHECK(has(json, "\"object\":\"chat.completion\"") && has(json, "\"finish_reason\":\"length\""));
    CHECK(has(json, "\"completion_tokens\":24") && has(json, "\"seed\":7"));
    EXPECT(fluid_generate(model, request, NULL, NULL, &again), FLUID_OK); /* the same without a callback */
    CHECK(holds_text(again, "\"content\":\"", seen->text));
    EXPECT(fluid_generate(model, request, NULL, NULL, NULL), FLUID_OK);
    fluid_string_free(json);
    fluid_string_free(again);
}

static void cancelled(fluid_model *model) {
    for (int at = 1; at <= 3; at++) {
        struct seen *seen = nothing_seen(FLUID_EVENT_TOKEN);
        char *json = NULL;
        double since = now();
        seen->stop_at = at;
        EXPECT(fluid_generate(model, LONG, look, seen, &json), FLUID_CANCELLED);
        CHECK(seen->events == at && seen->ends == 0 && now() - since < 30);
        CHECK(has(json, "\"finish_reason\":\"cancelled\""));
        fluid_string_free(json);
    }
}

static void deadline(fluid_model *model) {
    struct seen *seen = nothing_seen(FLUID_EVENT_TOKEN);
    char *json = NULL;
    EXPECT(fluid_generate(model, "{\"prompt\": \"a\", \"deadline_ms\": 1, \"max_tokens\": 500, " NO_END "}", look, seen,
                          &json),
           FLUID_DEADLINE);
    CHECK(seen->ends == 1 && seen->status == FLUID_DEADLINE && has(json, "\"finish_reason\":\"deadline\""));
    fluid_string_free(json);
}

/* Nothing to generate, a stop string, a full context. */
static void finish_reasons(fluid_model *model) {
    struct seen *seen = nothing_seen(FLUID_EVENT_TOKEN);
    char *json = NULL;
    EXPECT(fluid_generate(model, "{\"prompt\": \"a\", \"max_tokens\": 0}", look, seen, &json), FLUID_OK);
    CHECK(seen->events == 1 && seen->ends == 1 && has(json, "\"finish_reason\":\"length\""));
    fluid_string_free(json);
    seen = nothing_seen(FLUID_EVENT_TOKEN);
    EXPECT(fluid_generate(model, "{\"prompt\": \"1, 2, 3,\", \"temperature\": 0, \"logit_bias\": {\"33\": 100, \"262\": -100, "
                                 "\"264\": -100, \"0\": -100, \"2\": -100}, \"max_tokens\": 60, \"stop\": [\"BB\", \"CC\", \"AA\"]}",
                          look, seen, &json),
           FLUID_OK);
    CHECK(seen->ends == 1 && !has(seen->text, "BB"));
    fluid_string_free(json);
}

/* Tokens of two choices with log-probabilities, told apart by `choice`. */
struct choices {
    size_t length[2];
    char text[2][512];
};

static int32_t sort(const fluid_event *event, void *user_data) {
    struct choices *choices = user_data;
    if (event->kind == FLUID_EVENT_TOKEN) {
        CHECK(event->choice == 0 || event->choice == 1);
        CHECK(event->token == -1 || (event->logprob <= 0 && has(event->json, "\"top_logprobs\":[{")));
        size_t *length = &choices->length[event->choice];
        CHECK(*length + event->text_len < sizeof choices->text[0]);
        memcpy(choices->text[event->choice] + *length, event->text, event->text_len + 1);
        *length += event->text_len;
    }
    return 0;
}

static void two_choices(fluid_model *model) {
    struct choices choices = {0};
    char *json = NULL;
    EXPECT(fluid_generate(model,
                          "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"n\": 2, \"max_tokens\": 8, "
                          "\"logprobs\": true, \"top_logprobs\": 2, " NO_END "}",
                          sort, &choices, &json),
           FLUID_OK);
    const char *second = strstr(json, "\"index\":1");
    CHECK(second != NULL && has(json, "\"completion_tokens\":16"));
    CHECK(holds_text(json, "\"content\":\"", choices.text[0]));
    CHECK(holds_text(second, "\"content\":\"", choices.text[1]));
    fluid_string_free(json);
}

/* --- calls from inside the callback --- */

struct inside {
    fluid_engine *engine;
    fluid_model *model;
    int calls, ends;
};

static int32_t generates(const fluid_event *event, void *user_data) {
    struct inside *inside = user_data;
    inside->ends += event->kind == FLUID_EVENT_END;
    if (inside->calls++ < 2 && event->kind == FLUID_EVENT_TOKEN) {
        struct inside deeper = {inside->engine, inside->model, inside->calls, 0};
        char *json = NULL;
        EXPECT(fluid_generate(inside->model, SHORT, generates, &deeper, &json), FLUID_OK);
        CHECK(deeper.ends == 1 && has(json, "\"completion_tokens\":3"));
        fluid_string_free(json);
    }
    return 0;
}

static int32_t uses_jobs(const fluid_event *event, void *user_data) {
    struct inside *inside = user_data;
    fluid_queue *queue = NULL;
    fluid_model *model = NULL;
    fluid_job *job = NULL, *other = NULL, *which = NULL;
    char *json = NULL;
    if (event->kind != FLUID_EVENT_TOKEN || inside->calls++ > 0) {
        return 0;
    }
    EXPECT(fluid_model_info(inside->model, &json), FLUID_OK);
    CHECK(has(json, "\"architecture\":\"llama\""));
    fluid_string_free(json);
    job = start(inside->model, SHORT);
    CHECK(drain(job) == FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    job = start(inside->model, SHORT);
    other = start(inside->model, SHORT);
    EXPECT(fluid_queue_new(&queue), FLUID_OK);
    EXPECT(fluid_job_attach(job, queue), FLUID_OK);
    EXPECT(fluid_job_cancel(other), FLUID_OK);
    EXPECT(fluid_job_attach(other, queue), FLUID_OK);
    for (int ends = 0; ends < 2;) {
        EXPECT(fluid_queue_next(queue, -1, &which, &event), FLUID_OK);
        ends += event->kind == FLUID_EVENT_END;
    }
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_job_free(other), FLUID_OK);
    EXPECT(fluid_queue_free(queue), FLUID_OK);
    model = load(inside->engine, path, LOAD);
    EXPECT(fluid_model_free(model), FLUID_OK);
    return 0;
}

static int32_t frees_model(const fluid_event *event, void *user_data) {
    struct inside *inside = user_data;
    inside->ends += event->kind == FLUID_EVENT_END;
    if (inside->calls++ == 0) {
        EXPECT(fluid_model_free(inside->model), FLUID_OK);
        EXPECT(fluid_model_free(inside->model), FLUID_ERROR_INVALID_HANDLE);
    }
    return 0;
}

static int32_t frees_engine(const fluid_event *event, void *user_data) {
    struct inside *inside = user_data;
    inside->ends += event->kind == FLUID_EVENT_END;
    if (inside->calls++ == 0) {
        EXPECT(fluid_engine_free(inside->engine), FLUID_OK);
    }
    return 0;
}

static void from_inside(fluid_engine *engine, const char *options) {
    struct inside inside = {engine, load(engine, path, options), 0, 0};
    char *json = NULL;
    EXPECT(fluid_generate(inside.model, "{\"prompt\": \"b\", \"max_tokens\": 12, " NO_END "}", generates, &inside, &json),
           FLUID_OK);
    CHECK(inside.ends == 1 && has(json, "\"completion_tokens\":12"));
    fluid_string_free(json);
    inside.calls = 0;
    EXPECT(fluid_generate(inside.model, "{\"prompt\": \"b\", \"max_tokens\": 12, " NO_END "}", uses_jobs, &inside, NULL), FLUID_OK);
    inside.calls = inside.ends = 0;
    EXPECT(fluid_generate(inside.model, LONG, frees_model, &inside, &json), FLUID_CANCELLED);
    CHECK(inside.ends == 1 && inside.calls > 1 && has(json, "\"finish_reason\":\"cancelled\""));
    fluid_string_free(json);
    /* The engine too, twice over: from the callback of a generation and of a load. */
    inside.engine = new_engine(NULL);
    inside.model = load(inside.engine, path, options);
    inside.calls = inside.ends = 0;
    EXPECT(fluid_generate(inside.model, LONG, frees_engine, &inside, NULL), FLUID_CANCELLED);
    CHECK(inside.ends == 1);
    EXPECT(fluid_model_free(inside.model), FLUID_ERROR_INVALID_HANDLE);
    inside.engine = new_engine(NULL);
    inside.model = NULL;
    inside.calls = inside.ends = 0;
    fluid_status status = fluid_load_model(inside.engine, path, options, frees_engine, &inside, &inside.model);
    CHECK(inside.ends == 1);
    if (status == FLUID_OK) { /* it was too late to cancel: the model is there and dead */
        EXPECT(fluid_generate(inside.model, SHORT, NULL, NULL, NULL), FLUID_ERROR_INVALID_HANDLE);
        EXPECT(fluid_model_free(inside.model), FLUID_OK);
    } else {
        CHECK(status == FLUID_CANCELLED && inside.model == NULL);
    }
}

static void loads(fluid_engine *engine) {
    struct seen *seen = nothing_seen(FLUID_EVENT_PROGRESS);
    fluid_model *model = NULL;
    EXPECT(fluid_load_model(engine, path, LOAD, look, seen, &model), FLUID_OK);
    CHECK(seen->ends == 1 && seen->events >= 1 && seen->status == FLUID_OK && strcmp(seen->json, "{}") == 0);
    EXPECT(fluid_model_free(model), FLUID_OK);
    model = NULL;
    seen = nothing_seen(FLUID_EVENT_PROGRESS);
    seen->stop_at = 1;
    fluid_status status = fluid_load_model(engine, path, LOAD, look, seen, &model);
    CHECK(seen->events == 1);
    if (seen->ends == 1) { /* a tiny model can be there before its progress is seen */
        CHECK(status == FLUID_OK && fluid_model_free(model) == FLUID_OK);
        model = NULL;
    } else {
        CHECK(status == FLUID_CANCELLED && model == NULL);
    }
    seen = nothing_seen(FLUID_EVENT_PROGRESS);
    EXPECT(fluid_load_model(engine, "missing.gguf", LOAD, look, seen, &model), FLUID_ERROR_NOT_FOUND);
    CHECK(seen->events == 1 && seen->ends == 1 && seen->status == FLUID_ERROR_NOT_FOUND && model == NULL);
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    path = argv[1];
    fluid_engine *engine = new_engine(NULL);
    fluid_model *model = load(engine, path, LOAD);
    whole_answer(model);
    cancelled(model);
    deadline(model);
    finish_reasons(model);
    two_choices(model);
    EXPECT(fluid_model_free(model), FLUID_OK);
    loads(engine);
    from_inside(engine, LOAD);
    from_inside(engine, ONE_SLOT);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
