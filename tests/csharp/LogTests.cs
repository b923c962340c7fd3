// The log handler of the process.

using System;
using System.Collections.Concurrent;
using System.Linq;
using System.Threading;
using Fluid.Native;

static class LogTests
{
    [Test]
    static void Lines_reach_the_handler()
    {
        var lines = new ConcurrentBag<string>();
        FluidLibrary.SetLog((level, line) => lines.Add($"{level} {line}"));
        Fixtures.Engine.LoadModel(Fixtures.Tiny).Dispose();
        Assert.Throws<FluidNotFoundException>(() => Fixtures.Engine.LoadModel("no/such.gguf"));
        FluidLibrary.SetLog(null);
        Assert.True(lines.Any(line => line.StartsWith("Info ", StringComparison.Ordinal)), "of loads");
        Assert.True(lines.Any(line => line.StartsWith("Error ", StringComparison.Ordinal) && line.Contains("such.gguf")), "of errors");
        var before = lines.Count;
        Fixtures.Engine.LoadModel(Fixtures.Tiny).Dispose();
        Assert.Equal(before, lines.Count, "silent again:");
    }

    [Test]
    static void What_the_handler_throws_is_dropped_and_it_must_not_set_another()
    {
        Exception inside = null;
        FluidLibrary.SetLog((level, line) =>
        {
            try
            {
                FluidLibrary.SetLog((_, __) => { });
            }
            catch (Exception e)
            {
                inside = e;
            }
            throw new TimeZoneNotFoundException();
        });
        Fixtures.Engine.LoadModel(Fixtures.Tiny).Dispose();
        FluidLibrary.SetLog(null);
        Assert.True(inside is FluidBusyException, $"came {inside}");
        Assert.Throws<FluidInvalidRequestException>(() => FluidLibrary.SetLog((level, line) => { }, (FluidLogLevel)9));
    }

    /// The other thread waits for this call of the handler to end.
    [Test]
    static void A_handler_that_sets_the_log_while_another_thread_does_is_refused()
    {
        Exception inside = null;
        using (var called = new ManualResetEventSlim())
        using (var ended = new ManualResetEventSlim())
        {
            FluidLibrary.SetLog((level, line) =>
            {
                if (called.IsSet) return;
                called.Set();
                Thread.Sleep(100); // the other thread is inside by now
                try
                {
                    FluidLibrary.SetLog(null);
                }
                catch (Exception e)
                {
                    inside = e;
                }
                ended.Set();
            });
            var loader = Fixtures.Started(() => Fixtures.Engine.LoadModel(Fixtures.Tiny).Dispose());
            Assert.True(called.Wait(10000), "a line comes");
            var setter = Fixtures.Started(() => FluidLibrary.SetLog(null));
            Assert.True(ended.Wait(10000), "the handler ends");
            Fixtures.Joins(setter);
            Fixtures.Joins(loader);
        }
        Assert.True(inside is FluidBusyException, $"came {inside}");
    }
}
