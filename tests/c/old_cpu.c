/* On a processor without AVX2 (run.sh has qemu play one) a load is refused with a status, and
 * everything else works.
 *
 *     old_cpu MODEL
 */
#include "check.h"

int main(int argc, char **argv) {
    fluid_engine *engine = new_engine(NULL);
    fluid_model *model = NULL;
    fluid_job *job = NULL;
    CHECK(argc > 1);
    EXPECT_SAYS(fluid_load_model(engine, argv[1], NULL, NULL, NULL, &model), FLUID_ERROR_UNSUPPORTED_CPU, "AVX2");
    CHECK(model == NULL && strstr(fluid_last_error(), "FMA") != NULL && strstr(fluid_last_error(), "AVX,") != NULL);
    EXPECT(fluid_load_model_start(engine, argv[1], NULL, &job), FLUID_OK);
    CHECK(drain(job) == FLUID_ERROR_UNSUPPORTED_CPU);
    EXPECT(fluid_job_free(job), FLUID_OK);
    EXPECT(fluid_engine_free(engine), FLUID_OK);
    return 0;
}
