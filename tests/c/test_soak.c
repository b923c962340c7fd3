/* Models come and go: memory, threads and file handles stay as they are.
 *
 *     test_soak MODEL TINY
 *
 * Loads TINY 200 times and MODEL 40 times; with FLUID_SOAK=full 200 times each.
 */
#include "check.h"

#include <malloc.h>

#if defined(__SANITIZE_ADDRESS__)
enum { CHECKED = 1 }; /* freed memory is kept for a while */
#else
enum { CHECKED = 0 };
#endif
enum { WARM_UP = 20, LIMIT_KB = 5 * 1024 };

/* Without what malloc keeps of freed memory: how much that is differs from run to run. */
static long resident_kb(void) {
    long pages = 0, resident = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2 && fclose(file) == 0);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void round_trip(fluid_engine *engine, const char *path, int round) {
    fluid_model *model = NULL;
    fluid_job *job = NULL;
    const char *options = round % 8 == 0 ? "{\"n_ctx\": 256, \"n_parallel\": 1, \"n_threads\": 2}"
                                         : "{\"n_ctx\": 256, \"n_parallel\": 1, \"n_threads\": 1}";
    if (round % 4 == 3) { /* now and then one that fails, one that is given up, one in a job */
        EXPECT(fluid_load_model(engine, "missing.gguf", options, NULL, NULL, &model), FLUID_ERROR_NOT_FOUND);
        fluid_status status = fluid_load_model(engine, path, options, stop_at_once, NULL, &model);
        CHECK(status == FLUID_CANCELLED || status == FLUID_OK); /* a tiny model may be there at once */
        if (status == FLUID_OK) {
            EXPECT(fluid_model_free(model), FLUID_OK);
        }
        EXPECT(fluid_load_model_start(engine, path, options, &job), FLUID_OK);
        CHECK(drain(job) == FLUID_OK);
        EXPECT(fluid_job_take_model(job, &model), FLUID_OK);
        EXPECT(fluid_job_free(job), FLUID_OK);
    } else {
        EXPECT(fluid_load_model(engine, path, options, NULL, NULL, &model), FLUID_OK);
    }
    EXPECT(fluid_generate(model, SHORT, NULL, NULL, NULL), FLUID_OK);
    EXPECT(fluid_model_free(model), FLUID_OK);
}

static void soak(const char *path, int rounds) {
    fluid_engine *engine = new_engine(NULL);
    int threads = 0, files = 0;
    long least = 0, most = 0, first = 0;
    double since = now();
    for (int round = 1; round <= rounds; round++) {
        round_trip(engine, path, round);
        long kb = resident_kb();
        if (round == WARM_UP || rounds < WARM_UP) {
            threads = count_entries("/proc/self/task");
            files = count_entries("/proc/self/fd");
            least = most = first = kb;
        } else if (round > WARM_UP) {
            least = kb < least ? kb : least;
            most = kb > most ? kb : most;
            /* A thread leaves /proc a moment after it was joined. */
            CHECK(threads_settle(threads) == threads && count_entries("/proc/self/fd") == files);
        }
    }
    long last = resident_kb();
    int steady = CHECKED || rounds < WARM_UP || most - least <= LIMIT_KB;
    if (getenv("FLUID_VERBOSE") != NULL || !steady) {
        fprintf(stderr, "%s: %d loads in %.1f s; resident after load %d: %ld kB, at the end %ld kB, between %ld and %ld kB; "
               "%d threads, %d files\n",
               path, rounds, now() - since, WARM_UP, first, last, least, most, threads, files);
    }
    CHECK(steady);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    CHECK(threads_settle(1) == 1);
}

int main(int argc, char **argv) {
    const char *length = getenv("FLUID_SOAK");
    int full = length != NULL && strcmp(length, "full") == 0, slow = CHECKED || getenv("FLUID_SLOW") != NULL;
    CHECK(argc > 2);
    /* Each arena keeps some MB of a model that was freed; which one a new thread gets is chance. */
    mallopt(M_ARENA_MAX, 1);
    soak(argv[2], slow ? 10 : 200);
    if (!slow) {
        soak(argv[1], full ? 200 : 40);
    }
    return 0;
}
