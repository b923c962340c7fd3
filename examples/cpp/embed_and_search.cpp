// Finds the sentence that says most nearly what is asked, by the vectors of an embedding model.
//
//     embed_and_search MODEL.gguf ["question"]

#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "fluid.hpp"

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s MODEL.gguf [\"question\"]\n", argv[0]);
        return 2;
    }
    const std::vector<std::string> sentences = {
        "We deliver within three working days.",
        "Refunds are paid to the card you bought with.",
        "Our shop is open from nine to five.",
    };
    try {
        const fluid::engine engine;
        const fluid::model model = engine.load_model(std::filesystem::path(argv[1]));
        const fluid::embeddings index = model.embed(fluid::request().set("input", sentences));
        const fluid::embeddings question =
            model.embed(fluid::request().set("input", argc > 2 ? argv[2] : "How do I get my money back?"));

        std::size_t best = 0;
        double highest = -2;
        for (std::size_t i = 0; i < index.size(); ++i) {
            // The vectors have the length 1, so their product is their cosine.
            const double cosine = std::inner_product(index[i].begin(), index[i].end(), question[0].begin(), 0.0);
            std::printf("%.3f %s\n", cosine, sentences[i].c_str());
            if (cosine > highest) {
                highest = cosine;
                best = i;
            }
        }
        std::printf("closest: %s\n", sentences[best].c_str());
    } catch (const fluid::error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
