// Writes down a recording, a line for each stretch of speech as soon as it is decided.
//
//     transcribe WHISPER_FOLDER RECORDING

#include <cstdio>
#include <filesystem>

#include "fluid.hpp"

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s WHISPER_FOLDER RECORDING\n", argv[0]);
        return 2;
    }
    try {
        const fluid::engine engine;
        const fluid::model whisper = engine.load_model(std::filesystem::path(argv[1]));
        fluid::segment_stream speech = whisper.stream_transcribe(std::filesystem::path(argv[2]));
        for (const fluid::segment &segment : speech) {
            std::printf("[%6.2f -> %6.2f]%s\n", segment.start, segment.end, segment.text.c_str());
            std::fflush(stdout);
        }
        std::fprintf(stderr, "language: %s\n", speech.get().language.c_str());
    } catch (const fluid::error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
