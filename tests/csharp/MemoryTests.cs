// What the garbage collector does: frees what was forgotten, and nothing that is in use.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Threading;
using Fluid.Native;

static class MemoryTests
{
    /// A frame of its own on a thread of its own: no forgotten value stays on a stack.
    static void OnAnotherStack(Action act)
    {
        Fixtures.Joins(Fixtures.Started(act));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void ForgetStreams(int count, CancellationToken token = default(CancellationToken))
    {
        for (var i = 0; i < count; i++)
        {
            var stream = Fixtures.Random.Stream(Fixtures.Endless(), token).GetEnumerator();
            Assert.True(stream.MoveNext(), "it runs");
        }
    }

    [Test]
    static void Forgotten_streams_are_cancelled()
    {
        OnAnotherStack(() => ForgetStreams(8));
        Assert.Within(10000, "all but what the stack may still hold", () =>
        {
            Fixtures.Collect();
            return Fixtures.Jobs(Fixtures.Tiny) <= 1;
        });
    }

    [Test]
    static void Forgotten_models_and_engines_are_freed()
    {
        var gone = new List<WeakReference>();
        OnAnotherStack(() =>
        {
            for (var i = 0; i < 5; i++)
            {
                var engine = new Engine();
                var model = Fixtures.Load(Fixtures.Tiny, null, engine);
                var job = model.StartGenerate(Fixtures.Endless());
                gone.AddRange(new[] { new WeakReference(engine), new WeakReference(model), new WeakReference(job) });
            }
        });
        Assert.Within(10000, "they go", () =>
        {
            Fixtures.Collect();
            return gone.Count(reference => reference.IsAlive) <= 3;
        });
    }

    sealed class Finalized
    {
        readonly Action act;

        internal Finalized(Action act)
        {
            this.act = act;
        }

        ~Finalized() => act();
    }

    /// A forgotten engine is freed when its worker has come back, and that is inside the log's handler.
    [Test]
    static void A_forgotten_engine_does_not_hold_other_finalizers_up()
    {
        var finalized = 0;
        using (var isStuck = new ManualResetEventSlim())
        using (var release = new ManualResetEventSlim())
        {
            try
            {
                OnAnotherStack(() =>
                {
                    for (var i = 0; i < 5; i++) Fixtures.Load(Fixtures.Tiny, null, new Engine()).StartGenerate(Fixtures.Endless());
                    FluidLibrary.SetLog((level, line) =>
                    {
                        isStuck.Set();
                        release.Wait();
                    }, FluidLogLevel.Debug);
                });
                OnAnotherStack(() =>
                {
                    GC.Collect();
                    isStuck.Wait(5000);
                    for (var i = 0; i < 5; i++) new Finalized(() => Interlocked.Increment(ref finalized));
                });
                Assert.Within(5000, "others are finalized", () =>
                {
                    GC.Collect();
                    return Volatile.Read(ref finalized) > 0;
                });
                Assert.True(isStuck.IsSet, "an engine is being freed");
            }
            finally
            {
                release.Set();
                FluidLibrary.SetLog(null);
            }
        }
    }

    /// The loop holds the stream alone; its model and engine must outlive it.
    [Test]
    static void A_collection_in_the_middle_of_a_stream_takes_nothing_away()
    {
        var pieces = 0;
        foreach (var piece in FromAFreshEngine())
        {
            Fixtures.Collect();
            pieces++;
        }
        Assert.True(pieces > 5, $"{pieces} pieces");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static IEnumerable<string> FromAFreshEngine()
    {
        return Fixtures.Load(Fixtures.Tiny, null, new Engine()).Stream(new Request("The") { ["max_tokens"] = 40, ["ignore_eos"] = true, ["seed"] = 1 });
    }

    /// Nothing but the call holds the model and its engine.
    [Test]
    static void A_collection_in_the_middle_of_a_call_takes_nothing_away()
    {
        var isOver = false;
        var collector = Fixtures.Started(() =>
        {
            while (!Volatile.Read(ref isOver)) Fixtures.Collect();
        });
        try
        {
            var text = string.Join(" ", Enumerable.Repeat("once upon a time", 2000));
            OnAnotherStack(() =>
            {
                for (var i = 0; i < 2; i++)
                {
                    var tokens = Fixtures.Load(Fixtures.Tiny, null, new Engine()).Tokenize(text);
                    Assert.True(tokens.Length > 2000, $"{tokens.Length} tokens");
                }
            });
        }
        finally
        {
            Volatile.Write(ref isOver, true);
            Fixtures.Joins(collector);
        }
    }

    /// A token that lives as long as the program does not hold what it would cancel.
    [Test]
    static void Forgotten_streams_with_a_token_are_cancelled()
    {
        using (var source = new CancellationTokenSource())
        {
            OnAnotherStack(() => ForgetStreams(8, source.Token));
            Assert.Within(10000, "all but what the stack may still hold", () =>
            {
                Fixtures.Collect();
                return Fixtures.Jobs(Fixtures.Tiny) <= 1;
            });
        }
    }

    [Test]
    static void Collections_inside_callbacks_do_no_harm()
    {
        var lines = 0;
        FluidLibrary.SetLog((level, line) =>
        {
            Fixtures.Collect();
            Interlocked.Increment(ref lines);
        }, FluidLogLevel.Debug);
        try
        {
            using (var model = Fixtures.Load(Fixtures.Tiny))
            {
                var calls = 0;
                model.Generate(new Request("a") { ["max_tokens"] = 30, ["ignore_eos"] = true }, said =>
                {
                    Fixtures.Collect();
                    calls++;
                    return true;
                });
                Assert.True(calls >= 30, $"{calls} calls");
            }
        }
        finally
        {
            FluidLibrary.SetLog(null);
        }
        Assert.True(lines > 3, $"{lines} lines");
    }

    /// Threads that dispose, finalizers and readers meet in every order.
    [Test]
    static void Disposing_and_collecting_meet_running_jobs()
    {
        var until = DateTime.UtcNow.AddSeconds(Environment.GetEnvironmentVariable("FLUID_SOAK") == "full" ? 60 : 1.5);
        var wrong = new List<Exception>();
        var threads = Enumerable.Range(0, 6).Select(seed => Fixtures.Started(() =>
        {
            var random = new Random(seed);
            while (DateTime.UtcNow < until)
            {
                try
                {
                    MeetOnce(random);
                }
                catch (FluidCanceledException)
                {
                }
                catch (ObjectDisposedException)
                {
                }
                catch (Exception e)
                {
                    lock (wrong) wrong.Add(e);
                }
            }
        })).ToList();
        threads.ForEach(thread => Fixtures.Joins(thread, 90000));
        Assert.True(wrong.Count == 0, string.Join("\n", wrong.Take(3)));
        Fixtures.Collect();
    }

    static void MeetOnce(Random random)
    {
        var job = Fixtures.Random.StartGenerate(Fixtures.Endless());
        var stopper = Fixtures.Started(() =>
        {
            Thread.Sleep(random.Next(8));
            job.Dispose();
        });
        try
        {
            if (random.Next(3) == 0) job.RunAsync().GetAwaiter().GetResult();
            else if (random.Next(2) == 0) job.Run();
            else foreach (var said in job.Events()) if (random.Next(50) == 0) GC.Collect(0);
        }
        finally
        {
            Fixtures.Joins(stopper);
        }
    }
}
