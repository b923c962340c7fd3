// Reads JSON: what results say beyond the fields that this binding names. For more, use a JSON library.
#ifndef FLUID_VALUE_HPP
#define FLUID_VALUE_HPP

#include <cstddef>
#include <cstdint>
#include <locale>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

namespace detail {

// A text that C may leave out.
inline std::string_view or_empty(const char *text) { return text == nullptr ? std::string_view() : text; }

} // namespace detail

// A look at a value inside JSON that the library wrote: fluid::value(json)["usage"]["total_tokens"].number().
// Of text that is no JSON it finds something or nothing, and never reads beyond its end.
class value {
public:
    value() = default;
    // The text is borrowed: it must outlive this value and those found in it.
    explicit value(std::string_view json) : json_(trimmed(json)) {}
    explicit value(const char *json) : value(detail::or_empty(json)) {}
    // The text is taken over, and kept by this value and those found in it: fluid::value(model.info()).
    explicit value(std::string &&json)
        : kept_(std::make_shared<const std::string>(std::move(json))), json_(trimmed(*kept_)) {}

    // Whether it is there.
    explicit operator bool() const noexcept { return !json_.empty(); }
    // Its own JSON, borrowed from the text.
    std::string_view json() const noexcept { return json_; }

    // A member of an object, of several with one name the last; an item of an array. Each look goes through them.
    value operator[](std::string_view name) const {
        std::string_view found;
        each('{', [&](std::string_view key, std::string_view member) {
            if (value(key).text() == name) {
                found = member;
            }
            return true;
        });
        return part(found);
    }
    value operator[](std::size_t index) const {
        std::string_view found;
        each('[', [&](std::string_view, std::string_view item) {
            found = index-- == 0 ? item : std::string_view();
            return found.empty();
        });
        return part(found);
    }
    // The items of an array.
    std::vector<value> items() const {
        std::vector<value> all;
        each('[', [&](std::string_view, std::string_view item) {
            all.push_back(part(item));
            return true;
        });
        return all;
    }

    // A string without its quotes and escapes; else `otherwise`.
    std::string text(std::string_view otherwise = {}) const;
    // A number; else `otherwise`.
    double number(double otherwise = 0) const {
        std::istringstream in{std::string(json_)};
        in.imbue(std::locale::classic());
        double number = 0;
        return in >> number ? number : otherwise;
    }
    bool boolean(bool otherwise = false) const {
        return json_ == "true" || (json_ != "false" && otherwise);
    }

private:
    static constexpr std::string_view SPACE = " \t\r\n";

    static std::string_view trimmed(std::string_view text) {
        const std::size_t first = text.find_first_not_of(SPACE);
        return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(SPACE) - first + 1);
    }

    // One past the string that begins at `at`.
    static std::size_t string_end(std::string_view text, std::size_t at) {
        for (++at; at < text.size() && text[at] != '"'; ++at) {
            at += text[at] == '\\';
        }
        return at < text.size() ? at + 1 : text.size();
    }

    // One past the value that begins at `at`.
    static std::size_t value_end(std::string_view text, std::size_t at) {
        std::size_t depth = 0;
        while (at < text.size()) {
            const char c = text[at];
            if (depth == 0 && (c == ',' || c == ':' || c == ']' || c == '}')) {
                return at;
            }
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            at = c == '"' ? string_end(text, at) : at + 1;
        }
        return at;
    }

    value part(std::string_view found) const {
        value to(found);
        to.kept_ = kept_;
        return to;
    }

    // Calls `look(key, member)` for each member, for each item with no key, until it returns false.
    template <class Look>
    void each(char open, Look &&look) const {
        if (json_.size() < 2 || json_.front() != open) {
            return;
        }
        const std::string_view inside = json_.substr(1, json_.size() - 2);
        std::string_view key;
        for (std::size_t at = 0; at < inside.size();) {
            const std::size_t end = value_end(inside, at);
            const std::string_view found = trimmed(inside.substr(at, end - at));
            at = end + 1;
            if (open == '{' && end < inside.size() && inside[end] == ':') {
                key = found;
            } else if (!found.empty() && !look(key, found)) {
                return;
            }
        }
    }

    static std::uint32_t hex(std::string_view digits);
    static void write_utf8(std::string &out, std::uint32_t character);

    std::shared_ptr<const std::string> kept_;
    std::string_view json_;
};

inline std::string value::text(std::string_view otherwise) const {
    if (json_.size() < 2 || json_.front() != '"') {
        return std::string(otherwise);
    }
    const std::string_view inside = json_.substr(1, json_.size() - 2);
    std::string out;
    out.reserve(inside.size());
    for (std::size_t at = 0; at < inside.size(); ++at) {
        if (inside[at] != '\\' || at + 1 == inside.size()) {
            out += inside[at];
            continue;
        }
        switch (const char c = inside[++at]) {
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'u': {
            std::uint32_t character = hex(inside.substr(at + 1, 4));
            at += 4;
            // Half of a pair; without the other half it is no character.
            if (character >= 0xd800 && character < 0xe000) {
                const bool may_go_on = character < 0xdc00 && at + 6 < inside.size() && inside.substr(at + 1, 2) == "\\u";
                const std::uint32_t other = may_go_on ? hex(inside.substr(at + 3, 4)) : 0;
                const bool is_pair = other >= 0xdc00 && other < 0xe000;
                character = is_pair ? 0x10000 + ((character - 0xd800) << 10) + (other - 0xdc00) : 0xfffd;
                at += is_pair ? 6 : 0;
            }
            write_utf8(out, character);
            break;
        }
        default: out += c;
        }
    }
    return out;
}

inline std::uint32_t value::hex(std::string_view digits) {
    std::uint32_t number = 0;
    for (const char c : digits) {
        const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        number = number * 16 + static_cast<std::uint32_t>(digit & 15);
    }
    return number;
}

inline void value::write_utf8(std::string &out, std::uint32_t character) {
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (character < 0x80) {
        put(character);
    } else if (character < 0x800) {
        put(0xc0 | character >> 6);
        put(0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        put(0xe0 | character >> 12);
        put(0x80 | (character >> 6 & 0x3f));
        put(0x80 | (character & 0x3f));
    } else {
        put(0xf0 | (character >> 18 & 7));
        put(0x80 | (character >> 12 & 0x3f));
        put(0x80 | (character >> 6 & 0x3f));
        put(0x80 | (character & 0x3f));
    }
}

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_VALUE_HPP
