// Two models at once: one writes down a recording while the other tells a story; then the story's teller is asked about
// what was said.
//
//     two_models MODEL.gguf WHISPER_FOLDER RECORDING

#include <filesystem>
#include <iostream>

#include "fluid.hpp"

int main(int argc, char **argv) {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " MODEL.gguf WHISPER_FOLDER RECORDING\n";
        return 2;
    }
    try {
        const fluid::engine engine;
        // Both load at the same time.
        fluid::job_of<fluid::model> loading = engine.start_load_model(std::filesystem::path(argv[1]));
        const fluid::model whisper = engine.load_model(std::filesystem::path(argv[2]));
        const fluid::model model = loading.get();

        // A job runs by itself; its result is fetched when it is wanted.
        fluid::job_of<fluid::transcript> listening = whisper.start_transcribe(std::filesystem::path(argv[3]));
        const fluid::request story = fluid::request().user("Tell me a very short story.").set("max_tokens", 48);
        for (const std::string_view text : model.stream(story)) {
            std::cout << text << std::flush;
        }
        const std::string speech = listening.get().text();
        std::cout << "\n\nheard: " << speech << "\n\n";

        const fluid::request summary =
            fluid::request().user("Say in one sentence what this is about: " + speech).set("max_tokens", 48);
        std::cout << "in short: " << model.generate(summary).text() << '\n';
    } catch (const fluid::error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
