// The JSON that goes in and comes out.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Dynamic;
using System.Globalization;
using System.Linq;
using System.Linq.Expressions;
using System.Text;
using System.Threading;
using Fluid.Native;

static class JsonTests
{
    static string Written(object value) => new Options { ["x"] = value }.ToString();

    static void Writes(string json, object value) => Assert.Equal("{\"x\":" + json + "}", Written(value));

    [Test]
    static void Values_are_written()
    {
        Writes("null", null);
        Writes("true", true);
        Writes("-7", (sbyte)-7);
        Writes("18446744073709551615", ulong.MaxValue);
        Writes("0.1", 0.1);
        Writes("0.25", 0.25f);
        Writes("1.5", 1.5m);
        Writes("[1,2]", new[] { 1, 2 });
        Writes("[\"a\",null,[]]", new object[] { "a", null, new int[0] });
        Writes("{}", new Dictionary<string, object>());
        Writes("{\"a\":{\"b\":1}}", new Dictionary<string, object> { ["a"] = new Dictionary<string, int> { ["b"] = 1 } });
        Writes("{\"n\":4}", new Options { ["n"] = 4 });
        Writes("[{\"role\":\"user\",\"content\":\"Hi\"}]", new[] { Message.User("Hi") });
        Writes("{\"a\":[1e3]}", Json.Parse(" { \"a\" : [ 1e3 ] } "));
    }

    [Test]
    static void Texts_are_escaped()
    {
        Writes("\"\\\"\\\\ \\u000a\\u0000\\u001f/\u00e4\U0001F642\"", "\"\\ \n\0\x1f/\u00e4\U0001F642");
    }

    [Test]
    static void Numbers_are_written_alike_in_every_culture()
    {
        var before = Thread.CurrentThread.CurrentCulture;
        Thread.CurrentThread.CurrentCulture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        Thread.CurrentThread.CurrentCulture.NumberFormat.NumberDecimalSeparator = ",";
        Thread.CurrentThread.CurrentCulture.NumberFormat.NegativeSign = "minus";
        try
        {
            Writes("[-0.5,-3,-2.5]", new object[] { -0.5, -3, -2.5m });
            Assert.Equal(-0.5, (double)Json.Parse("-0.5"));
            Assert.Equal(-3, (int)Json.Parse("-3"));
        }
        finally
        {
            Thread.CurrentThread.CurrentCulture = before;
        }
    }

    [Test]
    static void What_JSON_lacks_is_an_argument_exception()
    {
        foreach (var value in new object[] { double.NaN, float.PositiveInfinity, 'c', DateTime.Now, DayOfWeek.Friday, new object() })
            Assert.Throws<ArgumentException>(() => Written(value));
        Assert.Contains("Json.Parse", Assert.Throws<ArgumentException>(() => Written(new Token())).Message);
        var endless = new List<object>();
        endless.Add(endless);
        Assert.Contains("holds itself", Assert.Throws<ArgumentException>(() => Written(endless)).Message);
    }

    /// As Newtonsoft's JToken: it enumerates what is not JSON's elements.
    sealed class Token : IEnumerable, IDynamicMetaObjectProvider
    {
        public IEnumerator GetEnumerator() => new object[0].GetEnumerator();

        public DynamicMetaObject GetMetaObject(Expression parameter) => throw new NotSupportedException();
    }

    [Test]
    static void Values_are_read()
    {
        var json = Json.Parse("\ufeff {\"a\":[1,-2.5e1,\"\\u00e4\\ud83d\\ude42\\n\\/\"],\"b\":{\"c\":null,\"d\":true}}\n".Substring(1));
        Assert.Equal(1, (int)json["a"][0]);
        Assert.Equal(-25.0, (double)json["a"][1]);
        Assert.Equal("\u00e4\U0001F642\n/", (string)json["a"][2]);
        Assert.True((bool)json["b"]["d"], "a bool");
        Assert.Equal(2, json.Count);
        Assert.Equal("a b", string.Join(" ", json.Keys));
        Assert.Equal(3, json["a"].Count());
        Assert.Equal("{\"a\":[1,-2.5e1,\"\u00e4\U0001F642\\u000a/\"],\"b\":{\"c\":null,\"d\":true}}", json.ToString());
    }

    [Test]
    static void What_is_not_there_is_null()
    {
        var json = Json.Parse("{\"a\":[null]}");
        Assert.True(json["b"] == null && json["a"][0] == null && json["a"][1] == null && json["a"]["x"] == null, "null");
        Assert.Equal(null, (string)json["b"]?["c"]);
        Assert.Throws<InvalidCastException>(() => Assert.True((bool)json["a"], ""));
        foreach (var nothing in new[] { json["b"], Json.Parse("null") })
        {
            Assert.True((int?)nothing == null && (long?)nothing == null && (double?)nothing == null, "numbers");
            Assert.True((bool?)nothing == null && (string)nothing == null, "others");
            Assert.Throws<InvalidCastException>(() => Assert.Equal(0, (int)nothing));
            Assert.Throws<InvalidCastException>(() => Assert.Equal(0.0, (double)nothing));
            Assert.Throws<InvalidCastException>(() => Assert.True((bool)nothing, ""));
        }
        json = Json.Parse("{\"n\":1.5,\"i\":2,\"t\":true}");
        Assert.Equal(1.5, (double?)json["n"]);
        Assert.Equal(1.5f, (float)json["n"]);
        Assert.True((int?)json["i"] == 2 && (long?)json["i"] == 2 && (bool?)json["t"] == true, "values");
        Assert.Throws<InvalidCastException>(() => Assert.Equal(0, (int?)json["t"]));
    }

    [Test]
    static void Numbers_lose_no_digit()
    {
        Assert.Equal(long.MaxValue, (long)Json.Parse("9223372036854775807"));
        Assert.Equal("18446744073709551615", Json.Parse("18446744073709551615").ToString());
        Assert.Throws<OverflowException>(() => Assert.Equal(0, (int)Json.Parse("2147483648")));
        Assert.Throws<FormatException>(() => Assert.Equal(0, (int)Json.Parse("1.5")));
    }

    [Test]
    static void What_is_no_JSON_is_refused_with_its_place()
    {
        var wrong = new[]
        {
            "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}", "\"", "\"\\", "\"\\x\"",
            "\"\\u12", "\"\\u12g4\"", "\"\n\"", "tru", "nul", "+1", "01", "1.", ".5", "1e", "-", "NaN", "1 2", "[1]]", "'a'", "\0",
            "\"a\0", "[\0]", "{\"a\":1,\"b\"}", new string('[', 100000), string.Concat(Enumerable.Repeat("{\"a\":", 10000)),
        };
        foreach (var text in wrong) Assert.Throws<FormatException>(() => Json.Parse(text));
        Assert.Contains("line 2, column 4", Assert.Throws<FormatException>(() => Json.Parse("{\n\"a\" 1}".Replace("\" 1", "\"1"))).Message);
        Assert.Throws<FormatException>(() => Options.FromJson("[1]"));
    }

    /// Mutated texts are read or refused, and what is read stays the same when it is written and read again.
    [Test]
    static void Mutated_texts_do_no_harm()
    {
        const string seed = "{\"id\":\"chatcmpl-1\",\"n\":[0,-1.5e+10,true,false,null,\"\\u00e4\\\"\\\\\"],\"u\":{\"t\":{\"k\":[]}}}";
        const string pieces = "{}[]\",:\\u0e1-+.eE tfnä\n\0\ud83d";
        var random = new Random(1);
        var read = 0;
        for (var i = 0; i < 20000; i++)
        {
            var text = new StringBuilder(seed);
            for (var change = random.Next(1, 4); change > 0; change--)
            {
                var at = random.Next(text.Length);
                if (random.Next(2) == 0) text.Remove(at, Math.Min(random.Next(1, 9), text.Length - at));
                else text.Insert(at, pieces[random.Next(pieces.Length)]);
                if (text.Length == 0) text.Append('1');
            }
            Json json;
            try
            {
                json = Json.Parse(text.ToString());
            }
            catch (FormatException)
            {
                continue;
            }
            read++;
            Assert.Equal(json.ToString(), Json.Parse(json.ToString()).ToString());
        }
        Assert.True(read > 500, $"enough were read: {read}");
    }

    [Test]
    static void Requests_come_of_prompts_messages_and_JSON()
    {
        Request prompt = "Hi";
        Assert.Equal("{\"prompt\":\"Hi\"}", prompt.ToString());
        Request chat = new[] { Message.System("Be brief."), Message.User("Hi") };
        Assert.Equal(
            "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}]}",
            chat.ToString());
        var raw = Request.FromJson("{\"prompt\":\"Hi\",\"seed\":18446744073709551615}");
        raw["n"] = 2;
        Assert.Equal("{\"prompt\":\"Hi\",\"seed\":18446744073709551615,\"n\":2}", raw.ToString());
        Assert.Equal("tool", Message.Tool("call_1", "42")["role"]);
    }
}
