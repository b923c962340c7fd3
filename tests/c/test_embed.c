/* Vectors, rankings and tokens over the C interface: who owns what, what is borrowed until when, and what
 * is refused.
 *
 *     test_embed MODEL TINY LIBRARY RERANKER
 */
#include "check.h"

#include <math.h>

#define EMBED_LOAD "{\"embedding\": true, \"n_ctx\": 256, \"n_threads\": 1}"
#define TEXTS "{\"input\": [\"one\", \"two and more\", \"three\"]}"

static const char *path, *reranker;

static double length_of(const float *vector, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)vector[i] * vector[i];
    return sqrt(sum);
}

static void vectors_are_the_callers(fluid_model *model) {
    float *data = NULL;
    size_t count = 0, dimensions = 0;
    char *json = NULL;
    EXPECT(fluid_embed(model, TEXTS, NULL, NULL, &data, &count, &dimensions, &json), FLUID_OK);
    CHECK(count == 3 && dimensions > 0 && strstr(json, "\"count\":3") != NULL);
    for (size_t i = 0; i < count; i++)
        CHECK(fabs(length_of(data + i * dimensions, dimensions) - 1) < 1e-4);
    CHECK(memcmp(data, data + dimensions, dimensions * sizeof *data) != 0);
    fluid_string_free(json);
    fluid_floats_free(data);
    fluid_floats_free(NULL);
    /* Without the JSON, and cut. */
    EXPECT(fluid_embed(model, "{\"input\": \"one\", \"dimensions\": 8}", NULL, NULL, &data, &count, &dimensions, NULL),
           FLUID_OK);
    CHECK(count == 1 && dimensions == 8);
    fluid_floats_free(data);
}

static void errors_leave_outputs_alone(fluid_model *model) {
    float *data = (float *)&path;
    size_t count = 77, dimensions = 78;
    char *json = (char *)&path;
    EXPECT_SAYS(fluid_embed(model, "{\"input\": [\"a\", \"\"]}", NULL, NULL, &data, &count, &dimensions, &json),
                FLUID_ERROR_INVALID_REQUEST, "input[1]");
    EXPECT_SAYS(fluid_embed(model, NULL, NULL, NULL, &data, &count, &dimensions, &json), FLUID_ERROR_INVALID_ARGUMENT,
                "request_json");
    EXPECT_SAYS(fluid_embed(model, "{", NULL, NULL, &data, &count, &dimensions, &json), FLUID_ERROR_INVALID_JSON,
                "request");
    EXPECT_SAYS(fluid_embed(model, TEXTS, NULL, NULL, NULL, &count, &dimensions, &json), FLUID_ERROR_INVALID_ARGUMENT,
                "out_data");
    EXPECT_SAYS(fluid_embed(model, TEXTS, NULL, NULL, &data, NULL, &dimensions, &json), FLUID_ERROR_INVALID_ARGUMENT,
                "out_count");
    EXPECT(fluid_embed(NULL, TEXTS, NULL, NULL, &data, &count, &dimensions, &json), FLUID_ERROR_INVALID_HANDLE);
    EXPECT_SAYS(fluid_rerank(model, "{\"query\": \"a\", \"documents\": [\"b\"]}", NULL, NULL, &json),
                FLUID_ERROR_UNSUPPORTED, "rank");
    CHECK(data == (float *)&path && count == 77 && dimensions == 78 && json == (char *)&path);
}

static int32_t stop(const fluid_event *event, void *user_data) {
    (void)event;
    ++*(int *)user_data;
    return 1;
}

/* A request of many texts, owned by the caller. */
static char *many_texts(int count) {
    char *request = malloc((size_t)count * 64 + 64);
    CHECK(request != NULL);
    size_t used = (size_t)sprintf(request, "{\"input\": [\"0\"");
    for (int i = 1; i < count; i++)
        used += (size_t)sprintf(request + used, ", \"text number %d of some that are alike\"", i);
    sprintf(request + used, "]}");
    return request;
}

static void a_callback_can_stop(fluid_model *model) {
    float *data = NULL;
    size_t count = 0, dimensions = 0;
    int calls = 0;
    char *request = many_texts(600);
    EXPECT(fluid_embed(model, request, stop, &calls, &data, &count, &dimensions, NULL), FLUID_CANCELLED);
    CHECK(calls == 1 && count < 600 && (data != NULL) == (count > 0));
    fluid_floats_free(data);
    free(request);
}

static void floats_of_a_job_are_borrowed(fluid_model *model) {
    fluid_job *job = NULL;
    const float *data = NULL, *again = NULL;
    size_t count = 0, dimensions = 0;
    const fluid_event *event = NULL;
    const char *json = NULL;
    char *request = many_texts(300);
    EXPECT(fluid_embed_start(model, request, &job), FLUID_OK);
    EXPECT(fluid_job_floats(job, &data, &count, &dimensions), FLUID_ERROR_BUSY);
    CHECK(data == NULL && count == 0);
    do
        EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
    while (event->kind != FLUID_EVENT_END);
    CHECK(event->status == FLUID_OK);
    EXPECT(fluid_job_floats(job, &data, &count, &dimensions), FLUID_OK);
    EXPECT(fluid_job_floats(job, &again, &count, &dimensions), FLUID_OK);
    CHECK(data == again && count == 300 && fabs(length_of(data + 299 * dimensions, dimensions) - 1) < 1e-4);
    EXPECT(fluid_job_json(job, &json), FLUID_OK);
    CHECK(strstr(json, "\"usage\"") != NULL);
    EXPECT_SAYS(fluid_job_floats(job, NULL, &count, &dimensions), FLUID_ERROR_INVALID_ARGUMENT, "out_data");
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_job_floats(job, &data, &count, &dimensions), FLUID_ERROR_INVALID_HANDLE);
    /* Freed while it runs. */
    EXPECT(fluid_embed_start(model, request, &job), FLUID_OK);
    EXPECT(fluid_job_free(job), FLUID_OK);
    free(request);
}

static void other_jobs_have_no_floats(fluid_engine *engine) {
    fluid_job *job = NULL;
    const float *data = NULL;
    size_t count = 0, dimensions = 0;
    const fluid_event *event = NULL;
    EXPECT(fluid_load_model_start(engine, path, EMBED_LOAD, &job), FLUID_OK);
    do
        EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
    while (event->kind != FLUID_EVENT_END);
    EXPECT(fluid_job_floats(job, &data, &count, &dimensions), FLUID_ERROR_INVALID_ARGUMENT);
    EXPECT(fluid_job_free(job), FLUID_OK);
}

static void documents_are_ranked(fluid_engine *engine) {
    char *json = NULL;
    fluid_job *job = NULL;
    const fluid_event *event = NULL;
    const char *request = "{\"query\": \"bread\", \"documents\": [\"a train\", {\"text\": \"flour\"}], \"top_n\": 1}";
    fluid_model *model = load(engine, reranker, "{\"n_threads\": 1}");
    EXPECT(fluid_rerank(model, request, NULL, NULL, &json), FLUID_OK);
    CHECK(strstr(json, "\"results\":[{\"index\":") != NULL && strstr(json, "\"relevance_score\":") != NULL);
    fluid_string_free(json);
    EXPECT(fluid_rerank_start(model, request, &job), FLUID_OK);
    EXPECT(fluid_job_next(job, -1, &event), FLUID_OK);
    CHECK(event->kind == FLUID_EVENT_END && strstr(event->json, "relevance_score") != NULL);
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT_SAYS(fluid_rerank(model, "{\"query\": \"a\", \"documents\": [1]}", NULL, NULL, &json),
                FLUID_ERROR_INVALID_REQUEST, "documents[0]");
    EXPECT(fluid_model_free(model), FLUID_OK);
}

static void tokens_and_texts(fluid_model *model) {
    char *json = NULL, *text = NULL;
    EXPECT(fluid_tokenize(model, "{\"content\": \"ab \xc3\xa4\"}", &json), FLUID_OK);
    const char *tokens = strchr(json, '[');
    CHECK(tokens != NULL && strstr(json, "\"count\":") != NULL);
    char request[256];
    snprintf(request, sizeof request, "{\"tokens\": %.*s}", (int)(strchr(tokens, ']') - tokens + 1), tokens);
    EXPECT(fluid_detokenize(model, request, &text), FLUID_OK);
    CHECK(strcmp(text, "{\"content\":\"ab \xc3\xa4\"}") == 0);
    fluid_string_free(text);
    fluid_string_free(json);
    json = NULL;
    EXPECT_SAYS(fluid_tokenize(model, "{}", &json), FLUID_ERROR_INVALID_REQUEST, "content");
    EXPECT_SAYS(fluid_detokenize(model, "{\"tokens\": [99999999]}", &json), FLUID_ERROR_INVALID_REQUEST, "tokens[0]");
    EXPECT_SAYS(fluid_tokenize(model, "{\"content\": \"a\"}", NULL), FLUID_ERROR_INVALID_ARGUMENT, "out_json");
    EXPECT(fluid_tokenize(NULL, "{\"content\": \"a\"}", &json), FLUID_ERROR_INVALID_HANDLE);
    CHECK(json == NULL);
}

static void *embed_until_freed(void *model) {
    fluid_status status;
    char *request = many_texts(50);
    do {
        float *data = NULL;
        size_t count = 0, dimensions = 0;
        status = fluid_embed(model, request, NULL, NULL, &data, &count, &dimensions, NULL);
        fluid_floats_free(data);
    } while (status == FLUID_OK);
    CHECK(status == FLUID_CANCELLED || status == FLUID_ERROR_INVALID_HANDLE);
    free(request);
    return NULL;
}

static void *tokenize_until_freed(void *model) {
    fluid_status status;
    do {
        char *json = NULL;
        status = fluid_tokenize(model, "{\"content\": \"some words\", \"with_pieces\": true}", &json);
        fluid_string_free(json);
    } while (status == FLUID_OK);
    CHECK(status == FLUID_ERROR_INVALID_HANDLE);
    return NULL;
}

static void freed_while_in_use(fluid_engine *engine) {
    fluid_model *model = load(engine, path, EMBED_LOAD);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, i < 2 ? embed_until_freed : tokenize_until_freed, model) == 0);
    struct timespec moment = {0, 50 * 1000 * 1000};
    nanosleep(&moment, NULL);
    EXPECT(fluid_model_free(model), FLUID_OK);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc > 4);
    path = argv[2];
    reranker = argv[4];
    fluid_engine *engine = new_engine(NULL);
    fluid_model *model = load(engine, path, EMBED_LOAD);
    vectors_are_the_callers(model);
    errors_leave_outputs_alone(model);
    a_callback_can_stop(model);
    floats_of_a_job_are_borrowed(model);
    other_jobs_have_no_floats(engine);
    tokens_and_texts(model);
    EXPECT(fluid_model_free(model), FLUID_OK);
    documents_are_ranked(engine);
    freed_while_in_use(engine);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
