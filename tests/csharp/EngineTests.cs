// Engines: options, loads and their errors, what they tell of themselves.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Fluid.Native;

static class EngineTests
{
    [Test]
    static void The_library_says_what_it_is()
    {
        Assert.True(FluidLibrary.Version.Split('.').Length == 3, FluidLibrary.Version);
        Assert.Equal(1, FluidLibrary.AbiVersion.Major);
        Assert.Contains("libfluid", FluidLibrary.Path);
    }

    [Test]
    static void A_wrong_option_is_refused_by_name()
    {
        var e = Assert.Throws<FluidInvalidRequestException>(() => new Engine(new Options { ["max_quue"] = 1 }));
        Assert.Contains("max_quue", e.Message);
        Assert.Equal(FluidStatus.InvalidRequest, e.Status);
        Assert.Equal("FLUID_ERROR_INVALID_REQUEST", e.StatusName);
        Assert.Throws<FluidInvalidRequestException>(() => Fixtures.Engine.LoadModel(Fixtures.Tiny, new Options { ["n_ctx"] = "many" }));
    }

    [Test]
    static void Load_errors_are_exceptions_of_their_own()
    {
        var e = Assert.Throws<FluidNotFoundException>(() => Fixtures.Engine.LoadModel("models/no such.gguf"));
        Assert.Contains("no such.gguf", e.Message);
        Assert.Throws<FluidInvalidModelException>(() => Fixtures.Engine.LoadModel(Fixtures.Jfk));
        Assert.Throws<ArgumentNullException>(() => Fixtures.Engine.LoadModel(null));
        Assert.Equal("name", Assert.Throws<ArgumentException>(() => Fixtures.Engine.LoadModel("a\0b")).ParamName);
        Assert.Equal("path", Assert.Throws<ArgumentException>(() => Fixtures.Random.SaveState("a", "a\0b")).ParamName);
        Assert.Equal("path", Assert.Throws<ArgumentException>(() => Fixtures.Random.RestoreState("a\0b")).ParamName);
        Assert.Throws<FluidNotFoundException>(() => Fixtures.Engine.Estimate("no such model"));
        var offline = new Options { ["offline"] = true };
        Fixtures.WithFolder("store", folder =>
        {
            offline["model_dir"] = folder;
            using (var engine = new Engine(offline))
                Assert.Throws<FluidNotFoundException>(() => engine.Download("owner/repo"));
        });
    }

    [Test]
    static void A_load_tells_its_progress()
    {
        var last = 0.0;
        using (var model = Fixtures.Engine.LoadModel(Fixtures.Tiny, null, said =>
        {
            Assert.True(said.Progress >= last || said.Kind != FluidEventKind.Progress, "it grows");
            last = Math.Max(last, said.Progress);
            return true;
        }))
        {
            Assert.True(last > 0, "progress came");
            Assert.Equal("loaded", (string)model.Info()["residence"]["state"]);
        }
    }

    [Test]
    static void A_load_callback_stops_it()
    {
        Assert.Throws<FluidCanceledException>(() => Fixtures.Engine.LoadModel(Fixtures.Smol, null, said => false));
    }

    [Test]
    static void What_a_load_callback_throws_comes_out()
    {
        var thrown = new TimeZoneNotFoundException("mine");
        var caught = Assert.Throws<TimeZoneNotFoundException>(
            () => Fixtures.Engine.LoadModel(Fixtures.Smol, null, said => { throw thrown; }));
        Assert.True(ReferenceEquals(thrown, caught), "the same exception");
    }

    [Test]
    static void Paths_may_have_spaces_umlauts_and_emoji()
    {
        Fixtures.WithFolder("mit Leerzeichen, \u00fcml\u00e4uten \U0001F999", folder =>
        {
            var path = Path.Combine(folder, "m\u00f6del \U0001F642.gguf");
            File.Copy(Fixtures.Tiny, path);
            using (var model = Fixtures.Load(path))
            {
                Assert.Equal(path, (string)model.Info()["path"]);
                model.Generate(new Request("a") { ["max_tokens"] = 2 });
                var state = Path.Combine(folder, "st\u00e4te \U0001F642");
                Assert.Equal(state, (string)model.SaveState("a b c", state)["path"]);
            }
        });
    }

    [Test]
    static void An_engine_tells_of_itself_and_the_machine()
    {
        Assert.True((double)Fixtures.Engine.Estimate(Fixtures.Smol)["total_bytes"] > 1e8, "estimate");
        Assert.True(Fixtures.Engine.Devices()["devices"].Count > 0, "devices");
        Assert.True(FluidLibrary.Devices()["cpu"]["logical_cores"] != null, "cores");
        Assert.True(Fixtures.Engine.Doctor(new Options { ["openvino"] = false })["checks"].Count > 3, "doctor");
        Assert.Contains("libfluid", (string)FluidLibrary.Doctor(new Options { ["openvino"] = false })["text"]);
        Fixtures.WithFolder("models", folder =>
        {
            Directory.CreateDirectory(folder + "/llm");
            File.Copy(Fixtures.Tiny, folder + "/llm/noise.gguf");
            using (var engine = new Engine(new Options { ["model_dir"] = folder }))
            {
                Assert.Equal("noise.gguf", (string)engine.Models()["data"][0]["name"]);
                Assert.Equal(0, engine.Models(new Options { ["type"] = "whisper" })["data"].Count);
                engine.LoadModel("noise.gguf").Dispose();
            }
        });
    }

    [Test]
    static void Trim_unloads_and_events_tell_of_it()
    {
        using (var engine = new Engine())
        using (var events = engine.StartEvents())
        using (var model = Fixtures.Load(Fixtures.Tiny, null, engine))
        {
            Assert.Equal(1, engine.Trim()["unloaded"].Count);
            Assert.Equal("unloaded", (string)model.Info()["residence"]["state"]);
            Assert.True(model.Generate(new Request("a") { ["max_tokens"] = 2 }).CompletionTokens > 0, "it is loaded again");
            var told = new List<string>();
            FluidEvent said;
            while ((said = events.Next(0)) != null)
            {
                Assert.Equal(FluidEventKind.Model, said.Kind);
                told.Add((string)Json.Parse(said.Json)["event"]);
            }
            Assert.Equal("loaded unloaded loading loaded", string.Join(" ", told));
        }
    }

    [Test]
    static void Disposing_twice_is_fine_and_use_afterwards_is_an_error()
    {
        var engine = new Engine();
        var model = Fixtures.Load(Fixtures.Tiny, null, engine);
        var job = model.StartGenerate("a");
        job.Dispose();
        job.Dispose();
        job.Cancel();
        Assert.Throws<ObjectDisposedException>(() => job.Next());
        Assert.Throws<ObjectDisposedException>(() => job.GetResult());
        model.Dispose();
        model.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.Info());
        Assert.Throws<ObjectDisposedException>(() => model.Generate("a"));
        Assert.Throws<ObjectDisposedException>(() => model.Stream("a").First());
        engine.Dispose();
        engine.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Fixtures.Load(Fixtures.Tiny, null, engine));
        Assert.Throws<ObjectDisposedException>(() => engine.Info());
    }

    [Test]
    static void A_model_goes_with_its_engine()
    {
        var engine = new Engine();
        var model = Fixtures.Load(Fixtures.Tiny, null, engine);
        engine.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.Generate("a"));
        model.Dispose();
    }
}
