// What calls take: names and paths, recordings, texts for C.
#ifndef FLUID_ARGUMENTS_HPP
#define FLUID_ARGUMENTS_HPP

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "json.hpp"
#include "result.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// A path, or a name that stands for a model: text in UTF-8, or a std::filesystem::path, which becomes UTF-8
// on Windows too.
class name_or_path {
public:
    name_or_path(const char *text) : text_(detail::or_empty(text)) {}
    name_or_path(std::string_view text) : text_(text) {}
    name_or_path(std::string text) : text_(std::move(text)) {}
    name_or_path(const std::filesystem::path &path) : text_(detail::utf8(path)) {}
#ifdef __cpp_char8_t
    name_or_path(std::u8string_view text) : text_(detail::chars(text)) {}
    name_or_path(const std::u8string &text) : name_or_path(std::u8string_view(text)) {}
    name_or_path(const char8_t *text) : name_or_path(text == nullptr ? std::u8string_view() : text) {}
#endif

    const std::string &str() const noexcept { return text_; }

private:
    std::string text_;
};

// A recording. Samples and bytes are borrowed until the call that gets it has returned, also where that
// starts a job. A path converts: model.transcribe("speech.mp3").
class audio {
public:
    // The file is read when the job begins: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC.
    template <class Path, class = std::enable_if_t<std::is_convertible_v<Path &&, name_or_path>>>
    audio(Path &&path) : kind_(FLUID_AUDIO_PATH), path_(name_or_path(std::forward<Path>(path)).str()) {}

    // `count` samples of all channels together, interleaved: floats from -1 to 1, or integers. `rate` is in
    // frames per second, 2,000 to 768,000; `channels` 1 to 64.
    static audio pcm(const float *samples, std::size_t count, std::uint32_t rate, std::uint32_t channels = 1) {
        return audio(FLUID_AUDIO_PCM_F32, samples, count * sizeof(float), rate, channels);
    }
    static audio pcm(const std::int16_t *samples, std::size_t count, std::uint32_t rate, std::uint32_t channels = 1) {
        return audio(FLUID_AUDIO_PCM_I16, samples, count * sizeof(std::int16_t), rate, channels);
    }
    // The same of whatever has data() and size(): std::vector, std::array, std::span.
    template <class Samples>
    static auto pcm(const Samples &samples, std::uint32_t rate, std::uint32_t channels = 1)
        -> decltype(pcm(std::data(samples), std::size(samples), rate, channels)) {
        return pcm(std::data(samples), std::size(samples), rate, channels);
    }

    // The bytes of a file.
    static audio encoded(const void *bytes, std::size_t count) {
        return audio(FLUID_AUDIO_ENCODED, bytes, count, 0, 0);
    }
    template <class Bytes>
    static auto encoded(const Bytes &bytes) -> decltype(std::data(bytes), audio::encoded(nullptr, 0)) {
        static_assert(sizeof(*std::data(bytes)) == 1, "the bytes of a file: of char, unsigned char or std::byte");
        return encoded(std::data(bytes), std::size(bytes));
    }

    // As C takes it; borrowed from this object.
    fluid_audio c_audio() const noexcept {
        fluid_audio to = {};
        to.struct_size = sizeof to;
        to.kind = kind_;
        to.data = kind_ == FLUID_AUDIO_PATH ? path_.c_str() : data_;
        to.bytes = kind_ == FLUID_AUDIO_PATH ? path_.size() : bytes_;
        to.rate = rate_;
        to.channels = channels_;
        return to;
    }

private:
    audio(fluid_audio_kind kind, const void *data, std::size_t bytes, std::uint32_t rate, std::uint32_t channels)
        : kind_(kind), data_(data), bytes_(bytes), rate_(rate), channels_(channels) {}

    fluid_audio_kind kind_;
    const void *data_ = nullptr;
    std::size_t bytes_ = 0;
    std::uint32_t rate_ = 0;
    std::uint32_t channels_ = 0;
    std::string path_;
};

namespace detail {

struct named_text {
    const std::string &text;
    const char *name;
};

// C ends a text at a NUL, so one that holds a NUL would lose its rest.
inline result<void> check_texts(std::initializer_list<named_text> texts) {
    for (const named_text &each : texts) {
        if (each.text.find('\0') != std::string::npos) {
            return failure{FLUID_ERROR_INVALID_ARGUMENT, std::string(each.name) + ": a NUL is in it", {}};
        }
    }
    return {};
}

// `text` for C; `nullptr` where there is nothing in it.
inline const char *c_text(const std::string &text) noexcept { return text.empty() ? nullptr : text.c_str(); }

// Calls `function(char **)`, which returns a status and gives out a string to own, if `texts` can be given to it.
template <class Function>
result<std::string> ask(std::initializer_list<named_text> texts, Function &&function) {
    const result<void> fine = check_texts(texts);
    if (!fine) {
        return fine.error();
    }
    char *text = nullptr;
    const fluid_status status = function(&text);
    if (status < 0) {
        return last_failure(status);
    }
    struct free_at_end {
        char *text;
        ~free_at_end() { fluid_string_free(text); }
    } const owner{text};
    return std::string(text == nullptr ? "" : text);
}

} // namespace detail

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_ARGUMENTS_HPP
