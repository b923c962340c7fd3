// The models of the tests, each loaded once, and what several tests need.

using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using Fluid.Native;

static class Fixtures
{
    internal static readonly string Models = Environment.GetEnvironmentVariable("FLUID_MODELS") ?? "models";
    internal static readonly string Smol = Models + "/SmolLM2-135M-Instruct.Q4_1.gguf";
    internal static readonly string Tiny = Models + "/tiny-random-gguf/llama.gguf";
    internal static readonly string MiniLm = Models + "/minilm-gguf/q8_0.gguf";
    internal static readonly string TinyReranker = Models + "/minilm-gguf/tiny-reranker.gguf";
    internal static readonly string WhisperBase = Models + "/whisper-base-int8-ov";
    internal static readonly string Jfk = Models + "/jfk.wav";

    static readonly Lazy<Engine> engine = new Lazy<Engine>(() => new Engine());
    static readonly Lazy<Model> chat = Loaded(Smol, new Options { ["n_ctx"] = 2048 });
    static readonly Lazy<Model> random = Loaded(Tiny, new Options { ["n_parallel"] = 16 });
    static readonly Lazy<Model> embedder = Loaded(MiniLm, null);
    static readonly Lazy<Model> ranker = Loaded(TinyReranker, null);
    static readonly Lazy<Model> whisper = Loaded(WhisperBase, null);

    internal static Engine Engine => engine.Value;
    internal static Model Chat => chat.Value;
    /// Random weights: fast, and its words are noise.
    internal static Model Random => random.Value;
    internal static Model Embedder => embedder.Value;
    internal static Model Ranker => ranker.Value;
    internal static Model Whisper => whisper.Value;

    static Lazy<Model> Loaded(string path, Options options) =>
        new Lazy<Model>(() => Load(path, options));

    /// With one thread: on a busy machine several wait for each other at every node of the graph.
    internal static Model Load(string path, Options options = null, Engine engine = null)
    {
        options = options ?? new Options();
        options["n_threads"] = 1;
        return (engine ?? Engine).LoadModel(path, options);
    }

    /// The answer that does not vary.
    internal static Request Greedy(string question, int tokens)
    {
        return new Request(Message.User(question)) { ["max_tokens"] = tokens, ["temperature"] = 0 };
    }

    /// Goes on until it is stopped.
    internal static Request Endless(string prompt = "Once upon a time")
    {
        return new Request(prompt)
        {
            ["max_tokens"] = 1000000, ["ignore_eos"] = true, ["context_shift"] = true, ["seed"] = 1,
        };
    }

    /// Jobs of the shared engine's model that have not ended.
    internal static int Jobs(string path)
    {
        var name = Path.GetFileName(path);
        return Engine.Info()["models"].Where(model => ((string)model["path"]).EndsWith(name, StringComparison.Ordinal))
            .Sum(model => (int)model["jobs"]);
    }

    internal static void AllJobsEnd(string path)
    {
        Assert.Within(5000, "all jobs end", () => Jobs(path) == 0);
    }

    internal static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
    }

    internal static Thread Started(Action act)
    {
        var thread = new Thread(() => act()) { IsBackground = true };
        thread.Start();
        return thread;
    }

    internal static void Joins(Thread thread, int milliseconds = 20000)
    {
        Assert.True(thread.Join(milliseconds), "the thread ends");
    }

    /// A folder that is gone afterwards.
    internal static void WithFolder(string name, Action<string> use)
    {
        var folder = Path.Combine(Path.GetTempPath(), "fluid-cs-" + Process.GetCurrentProcess().Id, name);
        Directory.CreateDirectory(folder);
        try
        {
            use(folder);
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(folder), true);
        }
    }

    /// The 16-bit samples of a plain WAV file.
    internal static short[] Samples(string wav, out int rate)
    {
        var bytes = File.ReadAllBytes(wav);
        rate = BitConverter.ToInt32(bytes, 24);
        var at = 12;
        while (BitConverter.ToInt32(bytes, at) != 0x61746164) at += 8 + BitConverter.ToInt32(bytes, at + 4);
        var samples = new short[BitConverter.ToInt32(bytes, at + 4) / 2];
        Buffer.BlockCopy(bytes, at + 8, samples, 0, samples.Length * 2);
        return samples;
    }
}
