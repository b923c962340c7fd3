/* What the C tests of speech share: a WAV file's samples, and events of a transcription, checked. */
#ifndef SPEECH_H
#define SPEECH_H

#include "check.h"

#include <math.h>

/* Samples of 16 bits, mono. */
struct wav {
    int16_t *samples;
    size_t count;
    uint32_t rate;
};

static UNUSED char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *size = (size_t)ftell(file);
    char *bytes = malloc(*size);
    CHECK(bytes != NULL && fseek(file, 0, SEEK_SET) == 0 && fread(bytes, 1, *size, file) == *size && fclose(file) == 0);
    return bytes;
}

/* The samples of a canonical file: 16 bits, one channel. The caller frees them. */
static UNUSED struct wav read_wav(const char *path) {
    struct wav wav = {NULL, 0, 0};
    size_t size;
    char *bytes = read_file(path, &size);
    CHECK(size > 44 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WAVE", 4) == 0);
    for (size_t at = 12; at + 8 <= size;) {
        uint32_t length;
        memcpy(&length, bytes + at + 4, 4);
        if (memcmp(bytes + at, "fmt ", 4) == 0) {
            int16_t format[2];
            memcpy(format, bytes + at + 8, 4);
            memcpy(&wav.rate, bytes + at + 12, 4);
            CHECK(format[0] == 1 && format[1] == 1);
        } else if (memcmp(bytes + at, "data", 4) == 0) {
            CHECK(at + 8 + length <= size);
            wav.count = length / 2;
            wav.samples = malloc(length);
            CHECK(wav.samples != NULL);
            memcpy(wav.samples, bytes + at + 8, length);
        }
        at += 8 + length + (length & 1);
    }
    CHECK(wav.count > 0 && wav.rate > 0);
    free(bytes);
    return wav;
}

/* `wav`, `times` times over. The caller frees the samples. */
static UNUSED struct wav repeated(const struct wav *wav, size_t times) {
    struct wav all = {malloc(times * wav->count * sizeof(int16_t)), times * wav->count, wav->rate};
    CHECK(all.samples != NULL);
    for (size_t i = 0; i < times; i++) {
        memcpy(all.samples + i * wav->count, wav->samples, wav->count * sizeof(int16_t));
    }
    return all;
}

static UNUSED fluid_audio i16_audio(const struct wav *wav) {
    fluid_audio audio = {sizeof audio, FLUID_AUDIO_PCM_I16, wav->samples, wav->count * sizeof(int16_t), wav->rate, 1};
    return audio;
}

static UNUSED fluid_audio path_audio(const char *path) {
    fluid_audio audio = {sizeof audio, FLUID_AUDIO_PATH, path, 0, 0, 0};
    return audio;
}

static UNUSED int has(const char *text, const char *words) { return strstr(text, words) != NULL; }

/* What a transcription told its callback. */
struct heard {
    int segments, languages, ends;
    int stop_at; /* the segment at which to cancel, from 1; 0: never */
    fluid_status status;
    double last_start, last_end, progress;
    int with_words; /* each segment's json has words */
    char text[16384], result[65536];
};

static UNUSED int32_t hear(const fluid_event *event, void *user_data) {
    struct heard *heard = user_data;
    CHECK(event->struct_size == sizeof(fluid_event) && heard->ends == 0);
    CHECK(event->text_len == strlen(event->text) && event->json_len == strlen(event->json));
    CHECK(event->choice == 0 && event->token == -1 && event->age >= 0 && event->elapsed >= 0);
    if (event->kind == FLUID_EVENT_SEGMENT) {
        CHECK(event->start >= heard->last_start && event->end >= event->start && event->end >= heard->last_end);
        CHECK(event->logprob <= 0 && event->logprob > -5 && event->text_len > 0 && event->progress == 0);
        CHECK(has(event->json, "\"avg_logprob\":") && has(event->json, "\"no_speech_prob\":"));
        CHECK(has(event->json, "\"start\":") && has(event->json, "\"text\":"));
        CHECK(has(event->json, "\"words\":[{") == heard->with_words);
        CHECK(strlen(heard->text) + event->text_len < sizeof heard->text);
        strcat(heard->text, event->text);
        heard->last_start = event->start;
        heard->last_end = event->end;
        return ++heard->segments == heard->stop_at;
    }
    CHECK(event->start == 0 && event->end == 0 && isnan(event->logprob));
    if (event->kind == FLUID_EVENT_LANGUAGE) {
        CHECK(heard->segments == 0 && ++heard->languages == 1 && strcmp(event->text, "en") == 0);
        CHECK(strncmp(event->json, "{\"language\":\"en\",\"probability\":0.", 32) == 0 ||
              strcmp(event->json, "{\"language\":\"en\",\"probability\":1.0}") == 0);
    } else if (event->kind == FLUID_EVENT_PROGRESS) {
        CHECK(event->progress >= heard->progress && event->progress <= 1);
        heard->progress = event->progress;
    } else if (event->kind == FLUID_EVENT_END) {
        heard->ends++;
        heard->status = event->status;
        CHECK(event->json_len < sizeof heard->result);
        strcpy(heard->result, event->json);
    } else {
        CHECK(event->kind == FLUID_EVENT_NOTICE && event->text_len > 0);
    }
    return 0;
}

#endif /* SPEECH_H */
