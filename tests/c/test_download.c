/* Downloads from a hub that does not answer: every way out of one, and nothing left.
 *
 *     test_download
 */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static char folder[] = "/tmp/fluid-download-XXXXXX";

/* A port on which somebody listens who never says a word. */
static int mute_port(int *socket_out) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *socket_out = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(*socket_out >= 0);
    CHECK(bind(*socket_out, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(*socket_out, 64) == 0);
    CHECK(getsockname(*socket_out, (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}

static fluid_engine *engine_for(int port, const char *offline) {
    char options[300];
    snprintf(options, sizeof options,
             "{\"model_dir\": \"%s\", \"hub_endpoint\": \"http://127.0.0.1:%d\", \"hub_token\": \"\", \"offline\": %s}",
             folder, port, offline);
    return new_engine(options);
}

static fluid_job *fetch(fluid_engine *engine, const char *options) {
    fluid_job *job = NULL;
    EXPECT(fluid_download_start(engine, "owner/name", options, &job), FLUID_OK);
    CHECK(job != NULL);
    return job;
}

static void refusals(fluid_engine *engine) {
    char sentinel = 0, *json = &sentinel;
    fluid_job *job = NULL;
    EXPECT_SAYS(fluid_download(engine, NULL, NULL, NULL, NULL, &json), FLUID_ERROR_INVALID_ARGUMENT, "name is NULL");
    EXPECT_SAYS(fluid_download(NULL, "owner/name", NULL, NULL, NULL, &json), FLUID_ERROR_INVALID_HANDLE, "NULL");
    EXPECT_SAYS(fluid_download(engine, "", NULL, NULL, NULL, &json), FLUID_ERROR_INVALID_ARGUMENT, "is empty");
    EXPECT_SAYS(fluid_download(engine, "../x", NULL, NULL, NULL, &json), FLUID_ERROR_INVALID_ARGUMENT, "\"../x\" is a path");
    EXPECT_SAYS(fluid_download(engine, "owner/name", "{", NULL, NULL, &json), FLUID_ERROR_INVALID_JSON, "options");
    EXPECT_SAYS(fluid_download(engine, "owner/name", "{\"file\": 1}", NULL, NULL, &json), FLUID_ERROR_INVALID_REQUEST,
                "file");
    EXPECT_SAYS(fluid_download_start(engine, "owner/name", NULL, NULL), FLUID_ERROR_INVALID_ARGUMENT, "out_job");
    EXPECT_SAYS(fluid_download_start(engine, "\xff/name", NULL, &job), FLUID_ERROR_INVALID_UTF8, "name");
    CHECK(json == &sentinel && job == NULL);
}

static void offline(int port) {
    fluid_engine *engine = engine_for(port, "true");
    EXPECT_SAYS(fluid_download(engine, "owner/name", NULL, NULL, NULL, NULL), FLUID_ERROR_NOT_FOUND, "owner/name would");
    EXPECT_SAYS(fluid_download(engine, "owner/name", "{\"revision\": \"v2\", \"file\": \"a.gguf\"}", NULL, NULL, NULL),
                FLUID_ERROR_NOT_FOUND, "owner/name@v2/a.gguf would have to come from a hub, and may not");
    EXPECT(fluid_engine_free(engine), FLUID_OK);
}

static void stops(fluid_engine *engine) {
    char *json = NULL;
    EXPECT(fluid_download(engine, "owner/name", "{\"deadline_ms\": 50}", NULL, NULL, &json), FLUID_DEADLINE);
    CHECK(strcmp(json, "{}") == 0);
    fluid_string_free(json);
    fluid_job *job = fetch(engine, NULL);
    sleep_ms(20);
    EXPECT(fluid_job_cancel(job), FLUID_OK);
    CHECK(drain(job) == FLUID_CANCELLED);
    EXPECT(fluid_job_free(job), FLUID_OK);
    /* Freed while it runs. */
    EXPECT(fluid_job_free(fetch(engine, NULL)), FLUID_OK);
}

/* More than may run at once are refused, and freeing the engine ends all. */
static void many(int port) {
    fluid_engine *engine = engine_for(port, "false");
    fluid_job *jobs[16], *other = NULL;
    for (int i = 0; i < 16; i++) {
        jobs[i] = fetch(engine, NULL);
    }
    EXPECT_SAYS(fluid_download_start(engine, "owner/name", NULL, &other), FLUID_ERROR_QUEUE_FULL, "16");
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    for (int i = 0; i < 16; i++) {
        CHECK(drain(jobs[i]) == FLUID_CANCELLED);
        EXPECT(fluid_job_free(jobs[i]), FLUID_OK);
    }
}

int main(void) {
    int mute;
    const int port = mute_port(&mute);
    CHECK(mkdtemp(folder) != NULL);
    setenv("NO_PROXY", "127.0.0.1", 1);
    fluid_engine *engine = engine_for(port, "false");
    refusals(engine);
    offline(port);
    stops(engine);
    many(port);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    close(mute);
    /* Nobody listens any more. */
    engine = engine_for(port, "false");
    EXPECT_SAYS(fluid_download(engine, "owner/name", NULL, NULL, NULL, NULL), FLUID_ERROR_NETWORK, "127.0.0.1");
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(threads_settle(1) == 1);
    rmdir(folder);
    return 0;
}
