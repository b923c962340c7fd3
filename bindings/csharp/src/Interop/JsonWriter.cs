// Writes .NET values as JSON: dictionaries, lists, texts, numbers. No reflection, so it works in trimmed programs.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Dynamic;
using System.Globalization;
using System.Text;

namespace Fluid.Native.Interop
{
    internal static class JsonWriter
    {
        internal static string Write(object value)
        {
            var json = new StringBuilder();
            Append(json, value, 0);
            return json.ToString();
        }

        private static void Append(StringBuilder json, object value, int depth)
        {
            if (depth > JsonReader.MaxDepth)
                throw new ArgumentException($"nested deeper than {JsonReader.MaxDepth} levels, or it holds itself");
            if (value is Json inner) value = inner.Value;
            if (value == null) json.Append("null");
            else if (value is bool truth) json.Append(truth ? "true" : "false");
            else if (value is string text) AppendString(json, text);
            else if (value is Json.Number number) json.Append(number.Digits);
            else if (value is IEnumerable<KeyValuePair<string, object>> members) AppendMembers(json, members, depth);
            else if (value is IDictionary dictionary) AppendMembers(json, Members(dictionary), depth);
            else if (value is IDynamicMetaObjectProvider)
                throw new ArgumentException(
                    $"a {value.GetType().Name} of another JSON library: pass Json.Parse(value.ToString())");
            else if (value is IEnumerable elements) AppendElements(json, elements, depth);
            else json.Append(Number(value));
        }

        private static void AppendMembers(
            StringBuilder json, IEnumerable<KeyValuePair<string, object>> members, int depth)
        {
            var separator = '{';
            foreach (var member in members)
            {
                json.Append(separator);
                AppendString(json, member.Key);
                json.Append(':');
                Append(json, member.Value, depth + 1);
                separator = ',';
            }
            json.Append(separator == '{' ? "{}" : "}");
        }

        private static IEnumerable<KeyValuePair<string, object>> Members(IDictionary members)
        {
            foreach (DictionaryEntry member in members)
            {
                var name = member.Key as string
                    ?? throw new ArgumentException($"JSON has no members named by a {member.Key.GetType().Name}");
                yield return new KeyValuePair<string, object>(name, member.Value);
            }
        }

        private static void AppendElements(StringBuilder json, IEnumerable elements, int depth)
        {
            var separator = '[';
            foreach (var element in elements)
            {
                json.Append(separator);
                Append(json, element, depth + 1);
                separator = ',';
            }
            json.Append(separator == '[' ? "[]" : "]");
        }

        private static void AppendString(StringBuilder json, string text)
        {
            json.Append('"');
            foreach (var c in text)
            {
                if (c == '"' || c == '\\') json.Append('\\').Append(c);
                else if (c < ' ') json.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
                else json.Append(c);
            }
            json.Append('"');
        }

        private static string Number(object value)
        {
            if (value is float single) return Digits(single.ToString("R", CultureInfo.InvariantCulture));
            if (value is double real) return Digits(real.ToString("R", CultureInfo.InvariantCulture));
            if (value is IFormattable whole && IsNumber(Type.GetTypeCode(value.GetType())) && !(value is Enum))
                return whole.ToString(null, CultureInfo.InvariantCulture);
            throw new ArgumentException($"JSON has no {value.GetType().Name}; make it a text or a number");
        }

        private static bool IsNumber(TypeCode code) => code >= TypeCode.SByte && code <= TypeCode.Decimal;

        /// Not NaN, not an infinity.
        private static string Digits(string digits)
        {
            if (!char.IsDigit(digits[digits.Length - 1])) throw new ArgumentException($"JSON has no {digits}");
            return digits;
        }
    }
}
