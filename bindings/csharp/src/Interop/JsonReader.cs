// Reads JSON (RFC 8259) by recursive descent: results of the library, and what callers pass as text.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Fluid.Native.Interop
{
    internal sealed class JsonReader
    {
        /// A nested text must not run out of stack.
        internal const int MaxDepth = 512;

        private readonly string text;
        private int at;
        private int depth;

        internal JsonReader(string text)
        {
            this.text = text;
        }

        internal Json ReadAll()
        {
            var json = ReadValue();
            SkipSpace();
            if (at < text.Length) throw Wrong("nothing may follow the value");
            return json;
        }

        private Json ReadValue()
        {
            SkipSpace();
            switch (Peek())
            {
                case '{': return Nested(ReadObject);
                case '[': return Nested(ReadArray);
                case '"': return new Json(ReadString());
                case 't': return Word("true", true);
                case 'f': return Word("false", false);
                case 'n': return Word("null", null);
                default: return ReadNumber();
            }
        }

        private Json Nested(Func<object> read)
        {
            if (++depth > MaxDepth) throw Wrong($"nested deeper than {MaxDepth} levels");
            at++;
            var json = new Json(read());
            at++;
            depth--;
            return json;
        }

        private object ReadObject()
        {
            var members = new Dictionary<string, Json>();
            SkipSpace();
            if (Peek() == '}') return members;
            for (;;)
            {
                SkipSpace();
                if (Peek() != '"') throw Wrong("a name in quotes is missing");
                var name = ReadString();
                SkipSpace();
                if (Peek() != ':') throw Wrong("a colon is missing");
                at++;
                members[name] = ReadValue();
                if (!IsMore('}')) return members;
            }
        }

        private object ReadArray()
        {
            var elements = new List<Json>();
            SkipSpace();
            if (Peek() == ']') return elements;
            for (;;)
            {
                elements.Add(ReadValue());
                if (!IsMore(']')) return elements;
            }
        }

        private bool IsMore(char close)
        {
            SkipSpace();
            if (Peek() == close) return false;
            if (Peek() != ',') throw Wrong($"a comma or {close} is missing");
            at++;
            return true;
        }

        private string ReadString()
        {
            var start = ++at;
            StringBuilder unescaped = null;
            for (;;)
            {
                var c = Peek();
                if (c == '"' && at < text.Length) break;
                if (c < ' ') throw Wrong(at < text.Length ? "a control character in a text" : "the text does not end");
                if (c == '\\')
                {
                    if (unescaped == null) unescaped = new StringBuilder();
                    unescaped.Append(text, start, at - start).Append(ReadEscape());
                    start = at;
                }
                else
                {
                    at++;
                }
            }
            var rest = text.Substring(start, at++ - start);
            return unescaped == null ? rest : unescaped.Append(rest).ToString();
        }

        private char ReadEscape()
        {
            at++;
            var c = Peek();
            var place = "\"\\/bfnrtu".IndexOf(c);
            if (place < 0 || at >= text.Length) throw Wrong("an unknown escape");
            at++;
            if (c != 'u') return "\"\\/\b\f\n\r\t"[place];
            var code = 0;
            for (var i = 0; i < 4; i++, at++)
            {
                var digit = "0123456789abcdef".IndexOf(char.ToLowerInvariant(Peek()));
                if (digit < 0) throw Wrong("four hexadecimal digits are missing");
                code = code * 16 + digit;
            }
            return (char)code;
        }

        private Json ReadNumber()
        {
            var start = at;
            if (Peek() == '-') at++;
            if (Peek() == '0') at++;
            else Digits();
            if (Peek() == '.')
            {
                at++;
                Digits();
            }
            if (Peek() == 'e' || Peek() == 'E')
            {
                at++;
                if (Peek() == '+' || Peek() == '-') at++;
                Digits();
            }
            return new Json(new Json.Number { Digits = text.Substring(start, at - start) });
        }

        private void Digits()
        {
            var start = at;
            while (Peek() >= '0' && Peek() <= '9') at++;
            if (at == start) throw Wrong(at < text.Length ? "no value begins so" : "the text ends too early");
        }

        private Json Word(string word, object value)
        {
            if (string.CompareOrdinal(text, at, word, 0, word.Length) != 0) throw Wrong("no value begins so");
            at += word.Length;
            return new Json(value);
        }

        private void SkipSpace()
        {
            while (Peek() == ' ' || Peek() == '\n' || Peek() == '\r' || Peek() == '\t') at++;
        }

        /// NUL behind the end, which no rule accepts.
        private char Peek() => at < text.Length ? text[at] : '\0';

        private FormatException Wrong(string what)
        {
            var line = 1;
            var column = 1;
            for (var i = 0; i < at && i < text.Length; i++)
            {
                column = text[i] == '\n' ? 1 : column + 1;
                if (text[i] == '\n') line++;
            }
            return new FormatException(
                string.Format(CultureInfo.InvariantCulture, "not JSON at line {0}, column {1}: {2}", line, column, what));
        }
    }
}
