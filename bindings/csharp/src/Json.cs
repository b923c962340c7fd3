// A JSON value: what the library answers, read without System.Text.Json, which netstandard2.0 lacks.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Globalization;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>
    /// A JSON value, read-only. Indexers give null for what is not there and for JSON's null; a conversion makes a .NET
    /// value, of null only where the type has one:
    /// <code>
    /// var text = (string)json["choices"]?[0]?["message"]?["content"];
    /// var cached = (int?)json["usage"]?["prompt_tokens_details"]?["cached_tokens"] ?? 0;
    /// </code>
    /// <see cref="ToString"/> is its JSON, for any other JSON library.
    /// </summary>
    public sealed class Json : IEnumerable<Json>
    {
        /// null, a bool, a string, a Number, a List of Json or a Dictionary of string to Json
        private readonly object value;

        internal Json(object value)
        {
            this.value = value;
        }

        /// A number in the digits it came in: none is lost between a double and a 64-bit integer.
        internal struct Number
        {
            internal string Digits;
        }

        internal object Value => value;

        /// <summary>Reads a JSON text, nested to 512 levels at most.</summary>
        /// <exception cref="FormatException">It is not JSON; the message has the place.</exception>
        public static Json Parse(string text)
        {
            return new JsonReader(text ?? throw new ArgumentNullException(nameof(text))).ReadAll();
        }

        /// <summary>The member of an object; null if there is none, or this is no object.</summary>
        public Json this[string key] =>
            value is Dictionary<string, Json> members && members.TryGetValue(key, out var member) && !member.IsNull
                ? member
                : null;

        /// <summary>The element of an array; null if it has fewer, or this is no array.</summary>
        public Json this[int index] =>
            value is List<Json> elements && index >= 0 && index < elements.Count && !elements[index].IsNull
                ? elements[index]
                : null;

        /// <summary>How many elements an array or members an object has; else 0.</summary>
        public int Count => (value as ICollection)?.Count ?? 0;

        /// <summary>The names of an object's members in their order; none if this is no object.</summary>
        public IEnumerable<string> Keys =>
            value is Dictionary<string, Json> members ? (IEnumerable<string>)members.Keys : new string[0];

        /// <summary>Whether it is JSON's null.</summary>
        public bool IsNull => value == null;

        /// <summary>The elements of an array, or the values of an object.</summary>
        public IEnumerator<Json> GetEnumerator()
        {
            if (value is List<Json> elements) return elements.GetEnumerator();
            if (value is Dictionary<string, Json> members) return members.Values.GetEnumerator();
            return ((IEnumerable<Json>)new Json[0]).GetEnumerator();
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        /// <summary>Its JSON text, without white space.</summary>
        public override string ToString() => JsonWriter.Write(this);

        /// <summary>The text; null for null.</summary>
        public static explicit operator string(Json json) => IsNothing(json) ? null : json.As<string>();

        /// <summary>True or false.</summary>
        public static explicit operator bool(Json json) => There(json).As<bool>();

        /// <summary>True or false; null for null.</summary>
        public static explicit operator bool?(Json json) => IsNothing(json) ? null : (bool?)(bool)json;

        /// <summary>The number.</summary>
        public static explicit operator double(Json json) =>
            double.Parse(There(json).As<Number>().Digits, NumberStyles.Float, CultureInfo.InvariantCulture);

        /// <summary>The number; null for null.</summary>
        public static explicit operator double?(Json json) => IsNothing(json) ? null : (double?)(double)json;

        /// <summary>The number.</summary>
        public static explicit operator float(Json json) => (float)(double)json;

        /// <summary>The whole number.</summary>
        /// <exception cref="OverflowException">It does not fit.</exception>
        /// <exception cref="FormatException">It has a fraction or an exponent.</exception>
        public static explicit operator long(Json json) =>
            long.Parse(There(json).As<Number>().Digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);

        /// <summary>The whole number; null for null.</summary>
        public static explicit operator long?(Json json) => IsNothing(json) ? null : (long?)(long)json;

        /// <summary>The whole number.</summary>
        /// <exception cref="OverflowException">It does not fit.</exception>
        /// <exception cref="FormatException">It has a fraction or an exponent.</exception>
        public static explicit operator int(Json json) => checked((int)(long)json);

        /// <summary>The whole number; null for null.</summary>
        public static explicit operator int?(Json json) => IsNothing(json) ? null : (int?)(int)json;

        private static bool IsNothing(Json json) => json == null || json.IsNull;

        private static Json There(Json json) =>
            IsNothing(json) ? throw new InvalidCastException("there is no value") : json;

        private T As<T>()
        {
            return value is T found
                ? found
                : throw new InvalidCastException($"this is no {typeof(T).Name.ToLowerInvariant()}, but {Brief()}");
        }

        private string Brief()
        {
            var text = ToString();
            return text.Length <= 60 ? text : text.Substring(0, 60) + "...";
        }
    }
}
