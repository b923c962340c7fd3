/* Writes down the speech of a recording: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC.
 *
 *     transcribe MODEL_DIR AUDIO [--srt | --vtt | --json] [--language xx] [--translate] [--words]
 *
 * Without a format each segment is printed as it comes. Ctrl-C ends the transcription; what came so
 * far is printed. Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 ended by Ctrl-C.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <io.h>
#define STDERR_IS_TERMINAL _isatty(2)
#else
#include <unistd.h>
#define STDERR_IS_TERMINAL isatty(STDERR_FILENO)
#endif

#include "fluid.h"

enum { FAILED = 1, USAGE = 2, INTERRUPTED = 130 };

static volatile sig_atomic_t interrupted = 0;

static void on_interrupt(int signal_number) {
    interrupted = 1;
    signal(signal_number, SIG_DFL); /* a second Ctrl-C ends the program */
}

/* --- arguments --- */

struct arguments {
    const char *model, *audio, *format, *language;
    int translate, words;
};

static int parse(int argc, char **argv, struct arguments *arguments) {
    int places = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--srt") == 0) {
            arguments->format = "srt";
        } else if (strcmp(argv[i], "--vtt") == 0) {
            arguments->format = "vtt";
        } else if (strcmp(argv[i], "--json") == 0) {
            arguments->format = "verbose_json";
        } else if (strcmp(argv[i], "--translate") == 0) {
            arguments->translate = 1;
        } else if (strcmp(argv[i], "--words") == 0) {
            arguments->words = 1;
        } else if (strcmp(argv[i], "--language") == 0 && i + 1 < argc) {
            arguments->language = argv[++i];
        } else if (argv[i][0] == '-' || places == 2) {
            return 0;
        } else {
            *(places++ == 0 ? &arguments->model : &arguments->audio) = argv[i];
        }
    }
    if (arguments->words && arguments->format == NULL) {
        arguments->format = "verbose_json"; /* where words have their times */
    }
    /* The code goes into JSON as it stands: letters need no escapes. */
    const char *code = arguments->language;
    size_t letters = code == NULL ? 0 : strspn(code, "abcdefghijklmnopqrstuvwxyz");
    return places == 2 && (code == NULL || (code[letters] == 0 && letters <= 20));
}

static void write_request(const struct arguments *arguments, char *json, size_t size) {
    int length = snprintf(json, size, "{\"task\": \"%s\", \"response_format\": \"%s\"",
                          arguments->translate ? "translate" : "transcribe",
                          arguments->format != NULL ? arguments->format : "text");
    if (arguments->language != NULL) {
        length += snprintf(json + length, size - (size_t)length, ", \"language\": \"%s\"", arguments->language);
    }
    if (arguments->words) {
        length += snprintf(json + length, size - (size_t)length, ", \"timestamp_granularities\": [\"word\"]");
    }
    snprintf(json + length, size - (size_t)length, "}");
}

/* --- events --- */

static void show_progress(const char *what, double progress) {
    if (STDERR_IS_TERMINAL) {
        fprintf(stderr, "\r%s %3.0f %%", what, progress * 100);
    }
}

static void clear_progress(void) {
    if (STDERR_IS_TERMINAL) {
        fprintf(stderr, "\r%40s\r", "");
    }
}

static void show_segment(const fluid_event *event) {
    int from = (int)(event->start / 60), to = (int)(event->end / 60);
    const char *text = event->text + (event->text[0] == ' ');
    printf("[%02d:%05.2f -> %02d:%05.2f] %s\n", from, event->start - from * 60, to, event->end - to * 60, text);
    fflush(stdout);
}

static fluid_status fail(const char *what, fluid_status status, const char *cause) {
    fprintf(stderr, "%s: %s: %s\n", what, fluid_status_name(status), cause);
    return status;
}

/* Reads the job's events to its end and returns how it ended. It looks up ten times a second, so that
 * Ctrl-C counts at once, whatever the job is at. */
static fluid_status follow(fluid_job *job, const char *what, int segments) {
    for (;;) {
        const fluid_event *event = NULL;
        fluid_status status = fluid_job_next(job, 100, &event);
        if (status < 0) {
            return fail(what, status, fluid_last_error());
        }
        if (interrupted) {
            fluid_job_cancel(job);
        }
        if (status != FLUID_OK) {
            continue; /* nothing yet */
        }
        if (event->kind == FLUID_EVENT_PROGRESS) {
            show_progress(what, event->progress);
            continue;
        }
        clear_progress();
        if (event->kind == FLUID_EVENT_SEGMENT && segments) {
            show_segment(event);
        } else if (event->kind == FLUID_EVENT_LANGUAGE) {
            fprintf(stderr, "language: %s\n", event->text);
        } else if (event->kind == FLUID_EVENT_NOTICE) {
            fprintf(stderr, "note: %s\n", event->text);
        } else if (event->kind == FLUID_EVENT_END) {
            return event->status < 0 ? fail(what, event->status, event->text) : event->status;
        }
    }
}

/* --- the three steps --- */

static fluid_status load(fluid_engine *engine, const char *path, fluid_model **model) {
    fluid_job *job = NULL;
    fluid_status status = fluid_load_model_start(engine, path, NULL, &job);
    if (status != FLUID_OK) {
        return fail(path, status, fluid_last_error());
    }
    status = follow(job, "loading", 0);
    if (status == FLUID_OK) {
        status = fluid_job_take_model(job, model);
    }
    fluid_job_free(job);
    return status;
}

static fluid_status transcribe(fluid_model *model, const struct arguments *arguments) {
    char request[200];
    const char *text = NULL;
    fluid_job *job = NULL;
    fluid_audio audio = {sizeof audio, FLUID_AUDIO_PATH, arguments->audio, 0, 0, 0};
    write_request(arguments, request, sizeof request);
    fluid_status status = fluid_transcribe_start(model, &audio, request, &job);
    if (status != FLUID_OK) {
        return fail(arguments->audio, status, fluid_last_error());
    }
    status = follow(job, "transcribing", arguments->format == NULL);
    /* Cancelled or not, the result holds the segments so far. */
    if (status >= FLUID_OK && arguments->format != NULL && fluid_job_json(job, &text) == FLUID_OK) {
        size_t length = strlen(text);
        printf("%s%s", text, length > 0 && text[length - 1] != '\n' ? "\n" : "");
    }
    fluid_job_free(job);
    return status;
}

int main(int argc, char **argv) {
    struct arguments arguments = {NULL, NULL, NULL, NULL, 0, 0};
    if (!parse(argc, argv, &arguments)) {
        fprintf(stderr, "usage: %s MODEL_DIR AUDIO [--srt | --vtt | --json] [--language xx] [--translate] [--words]\n",
                argv[0]);
        return USAGE;
    }
    if (fluid_abi_version() >> 16 != FLUID_ABI_VERSION >> 16) {
        fprintf(stderr, "this libfluid has another binary interface; compile against its fluid.h\n");
        return FAILED;
    }
    signal(SIGINT, on_interrupt);

    fluid_engine *engine = NULL;
    fluid_model *model = NULL;
    fluid_status status = fluid_engine_new(NULL, &engine);
    if (status != FLUID_OK) {
        fail("fluid_engine_new", status, fluid_last_error());
        return FAILED;
    }
    status = load(engine, arguments.model, &model);
    if (status == FLUID_OK) {
        status = transcribe(model, &arguments);
    }
    fluid_engine_free(engine); /* its model too */
    if (status < FLUID_OK) {
        return FAILED;
    }
    return status == FLUID_OK ? 0 : INTERRUPTED;
}
