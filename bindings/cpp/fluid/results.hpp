// What jobs come to: answers, transcripts, vectors, rankings. Each has the library's own text of the
// result beside the parts that are wanted most.
#ifndef FLUID_RESULTS_HPP
#define FLUID_RESULTS_HPP

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "event.hpp"
#include "value.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// A call of a tool that an answer asks for.
struct tool_call {
    std::string id;
    std::string name;
    // JSON, valid for the tool's schema unless the answer was cut off.
    std::string arguments;
};

// One of the answers that a request asks for.
struct choice {
    std::string text;
    // What the model thought before it answered.
    std::string reasoning;
    // "stop", "length", "tool_calls", "cancelled" or "deadline".
    std::string finish_reason;
    std::vector<tool_call> tool_calls;
};

// What a model answers.
struct answer {
    // OpenAI's object, with usage and timings.
    std::string json;
    // As many as the request's `n`.
    std::vector<choice> choices;
    // False: your callback stopped it.
    bool is_whole = true;

    // Of the first choice. What is asked of a temporary, as in model.generate(request).text(), outlives it.
    const std::string &text() const & noexcept { return first().text; }
    std::string text() && { return first().text; }
    const std::string &reasoning() const & noexcept { return first().reasoning; }
    std::string reasoning() && { return first().reasoning; }
    const std::string &finish_reason() const & noexcept { return first().finish_reason; }
    std::string finish_reason() && { return first().finish_reason; }
    const std::vector<tool_call> &tool_calls() const & noexcept { return first().tool_calls; }
    std::vector<tool_call> tool_calls() && { return first().tool_calls; }

private:
    const choice &first() const noexcept {
        static const choice none;
        return choices.empty() ? none : choices.front();
    }
};

// What was said in a recording.
struct transcript {
    // As the `response_format` asks: OpenAI's JSON, plain text, SRT or WebVTT.
    std::string body;
    // In the order of the recording: those of `body`, where it is "verbose_json"; else those that the job read, and not
    // those that a queue delivered.
    std::vector<segment> segments;
    // The language, such as "en": that of `body`, where it is "verbose_json"; else what the job read of a language
    // that was detected, empty where the request named it.
    std::string language;
    // False: your callback stopped it.
    bool is_whole = true;

    // All of it in one line: that of `body`, where it is JSON; else of `segments`.
    std::string text() const {
        const value whole = value(body)["text"];
        if (whole) {
            return whole.text();
        }
        std::string all;
        for (const segment &part : segments) {
            all += part.text;
        }
        const std::size_t first = all.find_first_not_of(' ');
        return first == all.npos ? std::string() : all.substr(first, all.find_last_not_of(' ') - first + 1);
    }
};

// Numbers that belong to something else; std::span<const float> takes it.
class floats {
public:
    floats(const float *data, std::size_t size) noexcept : data_(data), size_(size) {}
    const float *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    const float *begin() const noexcept { return data_; }
    const float *end() const noexcept { return data_ + size_; }
    float operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    const float *data_;
    std::size_t size_;
};

// The vectors of texts, in their order.
struct embeddings {
    // size() times `dimensions` numbers, one vector after the other.
    std::vector<float> values;
    std::size_t dimensions = 0;
    // OpenAI's object without `data`: usage and timings.
    std::string json;
    // False: your callback stopped it, and these are the vectors of the first texts.
    bool is_whole = true;

    std::size_t size() const noexcept { return dimensions == 0 ? 0 : values.size() / dimensions; }
    // The vector of text `index`, which is below size(); borrowed from this object.
    floats operator[](std::size_t index) const & noexcept { return {values.data() + index * dimensions, dimensions}; }
    // Of a temporary a copy, which outlives it.
    std::vector<float> operator[](std::size_t index) && {
        const floats all = (*this)[index];
        return {all.begin(), all.end()};
    }
};

// A document and how well it answers.
struct ranked {
    // Its place among the request's documents.
    std::size_t index;
    // Higher is better; comparable within one ranking.
    double score;
};

// Documents, the best first.
struct ranking {
    std::vector<ranked> results;
    // The library's object, with usage and, where asked for, the documents.
    std::string json;
    // False: your callback stopped it, and these are the first documents.
    bool is_whole = true;
};

namespace detail {

inline choice choice_of(const value &from) {
    const value message = from["message"];
    choice to;
    to.text = (message ? message["content"] : from["text"]).text();
    to.reasoning = message["reasoning_content"].text();
    to.finish_reason = from["finish_reason"].text();
    for (const value &call : message["tool_calls"].items()) {
        to.tool_calls.push_back(
            {call["id"].text(), call["function"]["name"].text(), call["function"]["arguments"].text()});
    }
    return to;
}

inline answer answer_of(std::string json) {
    answer to;
    for (const value &each : value(json)["choices"].items()) {
        to.choices.push_back(choice_of(each));
    }
    to.json = std::move(json);
    return to;
}

inline segment segment_of(const value &from) {
    return {from["start"].number(), from["end"].number(), from["text"].text(),
            static_cast<float>(from["avg_logprob"].number()), std::string(from.json())};
}

// `segments` and `language` are what the job read of events: all of them, unless a queue had some.
inline transcript transcript_of(std::string body, std::vector<segment> segments, std::string language) {
    const value json(body);
    const std::vector<value> told = json["segments"].items();
    if (!told.empty()) {
        segments.clear();
        for (const value &each : told) {
            segments.push_back(segment_of(each));
        }
    }
    language = json["language_code"].text(language);
    return {std::move(body), std::move(segments), std::move(language)};
}

inline ranking ranking_of(std::string json) {
    ranking to;
    for (const value &each : value(json)["results"].items()) {
        to.results.push_back({static_cast<std::size_t>(each["index"].number()), each["relevance_score"].number()});
    }
    to.json = std::move(json);
    return to;
}

} // namespace detail

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_RESULTS_HPP
