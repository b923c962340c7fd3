// A chat in the terminal: each answer is streamed as it comes, and the model knows what was said before.
// Ctrl-C ends an answer, the end of the input the program.
//
//     chat MODEL.gguf

#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>

#include "fluid.hpp"

static volatile std::sig_atomic_t interrupted = 0;

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " MODEL.gguf\n";
        return 2;
    }
    try {
        const fluid::engine engine;
        const fluid::model model = engine.load_model(std::filesystem::path(argv[1])); // meanwhile Ctrl-C ends the program

        fluid::request chat;
        chat.system("You are a helpful assistant who answers briefly.").set("max_tokens", 256).set("temperature", 0.2);
        for (std::string question; std::cout << "> " && std::getline(std::cin, question);) {
            interrupted = 0;
            std::signal(SIGINT, [](int) { interrupted = 1; }); // each time: on Windows it holds for one Ctrl-C
            const fluid::answer answer = model.generate(chat.user(question), [](const fluid::event &event) {
                if (event.kind == fluid::event_kind::token) {
                    std::cout << event.text << std::flush;
                }
                return interrupted == 0; // false stops the answer
            });
            std::cout << '\n';
            chat.assistant(answer.text());
        }
    } catch (const fluid::error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
