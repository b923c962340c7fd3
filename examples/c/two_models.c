/* Two models at once: one writes down a recording while the other answers. One thread reads both through a queue.
 *
 *     two_models MODEL.gguf WHISPER_FOLDER RECORDING
 */
#include <stdio.h>
#include <stdlib.h>

#include "fluid.h"

static void check(fluid_status status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), fluid_last_error());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv) {
    fluid_engine *engine = NULL;
    fluid_model *chat = NULL, *whisper = NULL;
    fluid_queue *queue = NULL;
    fluid_job *answering = NULL, *listening = NULL;
    int running = 2, failed = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf WHISPER_FOLDER RECORDING\n", argv[0]);
        return EXIT_FAILURE;
    }
    check(fluid_engine_new(NULL, &engine), "fluid_engine_new");
    check(fluid_load_model(engine, argv[1], NULL, NULL, NULL, &chat), argv[1]);
    check(fluid_load_model(engine, argv[2], NULL, NULL, NULL, &whisper), argv[2]);
    check(fluid_queue_new(&queue), "fluid_queue_new");

    const fluid_audio recording = {sizeof recording, FLUID_AUDIO_PATH, argv[3], 0, 0, 0};
    const char *question = "{\"messages\": [{\"role\": \"user\", \"content\": \"Tell me a very short story.\"}],"
                           " \"max_tokens\": 48}";
    check(fluid_transcribe_start(whisper, &recording, NULL, &listening), argv[3]);
    check(fluid_generate_start(chat, question, &answering), "fluid_generate_start");
    check(fluid_job_attach(listening, queue), "fluid_job_attach");
    check(fluid_job_attach(answering, queue), "fluid_job_attach");
    while (running > 0) {
        fluid_job *job = NULL;
        const fluid_event *event = NULL;
        check(fluid_queue_next(queue, -1, &job, &event), "fluid_queue_next");
        if (event->kind == FLUID_EVENT_TOKEN) {
            printf("%s", event->text);
            fflush(stdout);
        } else if (event->kind == FLUID_EVENT_SEGMENT) {
            printf("\nheard:%s\n", event->text);
        } else if (event->kind == FLUID_EVENT_END) {
            running--;
            if (event->status < 0) {
                fprintf(stderr, "%s: %s: %s\n", job == listening ? "transcription" : "answer",
                        fluid_status_name(event->status), event->text);
                failed = 1;
            }
        }
    }
    printf("\n");
    fluid_job_free(answering);
    fluid_job_free(listening);
    fluid_queue_free(queue);
    fluid_engine_free(engine); /* its models too */
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
