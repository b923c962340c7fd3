// Writes JSON: requests and options, field by field.
#ifndef FLUID_JSON_HPP
#define FLUID_JSON_HPP

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "value.hpp"

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// JSON that is written as it is: set("tools", fluid::raw{text}).
struct raw {
    std::string_view json;
};

namespace detail {

// A path as UTF-8, on Windows too.
inline std::string utf8(const std::filesystem::path &path) {
    const auto text = path.u8string(); // of char from C++17 on, of char8_t from C++20 on
    return std::string(text.begin(), text.end());
}

// Quotes `text`. Bytes that are no UTF-8 stay: the library names the place.
inline void write_text(std::string &out, std::string_view text) {
    static constexpr char HEX[] = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += HEX[byte >> 4];
            out += HEX[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

// In the "C" locale, whatever the program has set.
template <class Number>
std::string printed(Number number, int digits) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(digits);
    out << number;
    return out.str();
}

// As short as usual, if that reads back as the same number; else with all digits.
template <class Number>
void write_number(std::string &out, Number number) {
    const std::string usual = printed(number, std::numeric_limits<Number>::digits10);
    std::istringstream in(usual);
    in.imbue(std::locale::classic());
    Number again = 0;
    out += in >> again && again == number ? usual : printed(number, std::numeric_limits<Number>::max_digits10);
}

template <class T>
constexpr bool is_character = std::is_same_v<T, char> || std::is_same_v<T, wchar_t> || std::is_same_v<T, char16_t> ||
                              std::is_same_v<T, char32_t>
#ifdef __cpp_char8_t
                              || std::is_same_v<T, char8_t>
#endif
    ;

template <class T>
constexpr bool is_text = std::is_convertible_v<const T &, std::string_view>
#ifdef __cpp_char8_t
                         || std::is_convertible_v<const T &, std::u8string_view>
#endif
    ;
inline std::string_view chars(std::string_view text) noexcept { return text; }
#ifdef __cpp_char8_t
inline std::string_view chars(std::u8string_view text) noexcept {
    return {reinterpret_cast<const char *>(text.data()), text.size()};
}
#endif

template <class T, class = void>
constexpr bool is_object = false;
template <class T>
constexpr bool is_object<T, std::void_t<typename T::is_json_object>> = true;

template <class T>
void write_value(std::string &out, const T &value) {
    if constexpr (std::is_same_v<T, std::nullptr_t>) {
        out += "null";
    } else if constexpr (std::is_same_v<T, bool>) {
        out += value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, raw>) {
        out += value.json;
    } else if constexpr (is_object<T>) {
        out += value.str();
    } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
        write_text(out, utf8(value));
    } else if constexpr (is_text<T> && std::is_pointer_v<T>) {
        value == nullptr ? write_value(out, nullptr) : write_text(out, chars(value));
    } else if constexpr (is_text<T>) {
        write_text(out, chars(value));
    } else if constexpr (std::is_floating_point_v<T>) {
        if (std::isfinite(value)) {
            write_number(out, value);
        } else {
            write_value(out, nullptr);
        }
    } else if constexpr (std::is_integral_v<T>) {
        static_assert(!is_character<T>, "a character is no number: give a text in UTF-8, as std::string");
        out += std::to_string(value);
    } else {
        // Named, for an item of std::vector<bool> is of another type than bool.
        using item_type = typename std::iterator_traits<decltype(std::begin(value))>::value_type;
        out += '[';
        bool is_first = true;
        for (const auto &item : value) {
            if (!is_first) {
                out += ',';
            }
            is_first = false;
            write_value<item_type>(out, item);
        }
        out += ']';
    }
}

// What stands in braces: set("suppress_tokens", {0, 11}).
struct item {
    using is_json_object = void;

    template <class T>
    item(const T &value) {
        write_value(json, value);
    }
    const std::string &str() const noexcept { return json; }

    std::string json;
};

} // namespace detail

// The fields of a JSON object, in the order they were set; of one that is set twice, the last counts.
template <class Self>
class fields {
public:
    using is_json_object = void;

    // `value` is a bool, a number (one that is not finite becomes null), a text in UTF-8 (a null pointer becomes
    // null), nullptr, a path, fluid::raw, another object, or a range of these.
    template <class T>
    Self &set(std::string_view name, const T &value) {
        begin(name);
        detail::write_value(fields_, value);
        return self();
    }
    Self &set(std::string_view name, std::initializer_list<detail::item> values) {
        begin(name);
        detail::write_value(fields_, values);
        return self();
    }

    std::string str() const { return is_whole_ ? fields_ : "{" + fields_ + "}"; }
    bool empty() const noexcept { return fields_.empty(); }

protected:
    fields() = default;
    // An object as JSON, which fields can be added to; blank text is an empty one. What is none stays as it is, for
    // the library to refuse.
    explicit fields(std::string_view object) {
        static constexpr std::string_view SPACE = " \t\r\n";
        const std::size_t open = object.find_first_not_of(SPACE), close = object.find_last_not_of(SPACE);
        if (open == object.npos) {
            return;
        }
        if (open < close && object[open] == '{' && object[close] == '}') {
            object = object.substr(open + 1, close - open - 1);
            fields_ = object.find_first_not_of(SPACE) == object.npos ? "" : object;
        } else {
            fields_ = object;
            is_whole_ = true;
        }
    }
    ~fields() = default;
    fields(const fields &) = default;
    fields(fields &&) = default;
    fields &operator=(const fields &) = default;
    fields &operator=(fields &&) = default;

private:
    void begin(std::string_view name) {
        if (!fields_.empty()) {
            fields_ += ',';
        }
        detail::write_text(fields_, name);
        fields_ += ':';
    }
    Self &self() noexcept { return static_cast<Self &>(*this); }

    std::string fields_;
    bool is_whole_ = false; // no object: braces are not ours to add
};

// An object inside a request: fluid::object().set("type", "json_object").
class object final : public fields<object> {
public:
    object() = default;
};

// The options of an engine, a load, a download and the like, as fluid.h names them:
// fluid::options().set("n_ctx", 4096). JSON text is taken as it is; a null pointer is no options.
class options final : public fields<options> {
public:
    options() = default;
    options(const char *json) : fields(detail::or_empty(json)) {}
    options(std::string_view json) : fields(json) {}
    options(const std::string &json) : fields(std::string_view(json)) {}
};

// A request in OpenAI's field names, as fluid.h lists them for each act:
// fluid::request().system("Be brief.").user("Why is the sky blue?").set("max_tokens", 64).
// JSON text is taken as it is, and fields can be added to it; a null pointer is an empty request.
class request final : public fields<request> {
public:
    request() = default;
    request(const char *json) : fields(detail::or_empty(json)) {}
    request(std::string_view json) : fields(json) {}
    request(const std::string &json) : fields(std::string_view(json)) {}

    // Messages of a chat, in the order they were said, behind those of a field "messages". The content is a text, or
    // what else set() takes.
    template <class Content>
    request &system(const Content &content) { return message("system", content); }
    template <class Content>
    request &user(const Content &content) { return message("user", content); }
    template <class Content>
    request &assistant(const Content &content) { return message("assistant", content); }
    template <class Content>
    request &message(std::string_view role, const Content &content) {
        return message(object().set("role", role).set("content", content));
    }
    // One with other fields, such as tool calls, their results, or fluid::raw.
    template <class T>
    request &message(const T &message) {
        if (!messages_.empty()) {
            messages_ += ',';
        }
        detail::write_value(messages_, message);
        return *this;
    }

    // A text to go on with, without a chat's template.
    template <class Text>
    request &prompt(const Text &text) { return set("prompt", text); }

    std::string str() const {
        std::string all = fields::str();
        if (messages_.empty()) {
            return all;
        }
        const value field = value(all)["messages"];
        const std::string_view before = field.json();
        if (before.size() < 2 || before.front() != '[' || before.back() != ']') {
            request other(*this);
            const std::string messages = "[" + std::exchange(other.messages_, {}) + "]";
            return other.set("messages", raw{messages}).str();
        }
        const auto end = static_cast<std::size_t>(before.data() - all.data()) + before.size() - 1;
        return all.insert(end, (field[0] ? "," : "") + messages_);
    }

private:
    std::string messages_;
};

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_JSON_HPP
